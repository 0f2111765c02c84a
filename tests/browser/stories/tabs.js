// Two files in two tabs, and what is left in a tab once she is gone.

import { judge } from '../judge.js';
import { WORDS, decide, logIn } from '../person.js';
import { ensure, same } from '../report.js';

export const name = 'tabs';

export async function run({ visitor, commune, check }) {
  const first = visitor.page;
  const [asked, other, third] = [
    await commune.ask('2026-1010'),
    await commune.ask('2026-1011'),
    await commune.ask('2026-1012'),
  ];
  await check('two files in two tabs are answered in the other order', async () => {
    await logIn(visitor, asked);
    const second = await visitor.context.newPage();
    visitor.page = second;
    await second.goto(other.url);
    await visitor.at('/demande/');
    const refused = await decide(visitor, commune, WORDS.fr.provide);
    same(new URL(refused).searchParams.get('state'), other.state, 'state');
    visitor.page = first;
    const grant = await commune.complete(asked, await decide(visitor, commune, WORDS.fr.fetch));
    same(grant.dossier_ref, '2026-1010', 'file');
  });
  await check('a request open in two tabs is answered once', async () => {
    const twice = await commune.ask('2026-1013');
    await first.goto(twice.url);
    await visitor.at('/demande/');
    const second = await visitor.context.newPage();
    await second.goto(first.url());
    await second.getByRole('button', { name: WORDS.fr.provide }).waitFor();
    const grant = await commune.complete(twice, await decide(visitor, commune, WORDS.fr.fetch));
    visitor.page = second;
    await second.getByRole('button', { name: WORDS.fr.provide }).click();
    await second.getByRole('heading', { name: 'Vous avez déjà répondu à cette demande' }).waitFor();
    await judge(visitor, 'demande-deja-repondue');
    same((await commune.grants('2026-1013')).map((g) => g.grant_id), [grant.grant_id], 'grants');
    visitor.page = first;
    await second.close();
  });
  await check('a choice made after she logged out elsewhere counts for nothing, and says so', async () => {
    await first.goto(third.url);
    await visitor.at('/demande/');
    const request = first.url();
    const second = await visitor.context.newPage();
    await second.goto(visitor.portal);
    await second.getByRole('button', { name: 'Se déconnecter' }).click();
    await second.waitForURL((url) => url.origin === visitor.portal && url.pathname === '/');
    await second.close();
    visitor.refuses(request);
    await first.getByRole('button', { name: WORDS.fr.fetch }).click();
    await first.getByRole('heading', { name: 'Votre session a pris fin' }).waitFor();
    await judge(visitor, 'session-finie');
    same((await commune.grants('2026-1012')).length, 0, 'grants');
  });
  await check('the way back shows nobody’s data', async () => {
    await first.goBack();
    await first.waitForLoadState();
    const text = await visitor.text();
    ensure(!/Angela|DUBOIS/.test(text), `the page ${first.url()} shows who was logged in`);
  });
  await check('logging in again leads back, and the request has gone with the session', async () => {
    await visitor.open('/autorisations');
    await first.getByRole('link', { name: /FranceConnect/ }).click();
    await first.getByRole('button', { name: /Angela/ }).click();
    await visitor.at('/autorisations');
    await visitor.reads('n° 2026-1010');
    ensure(!(await visitor.text()).includes('2026-1012'), 'an unanswered request is an authorisation');
  });
}
