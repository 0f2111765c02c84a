// Angela provides the paper herself; then opens a request that is not hers to answer.

import { judge } from '../judge.js';
import { WORDS, decide, logIn } from '../person.js';
import { ensure, same } from '../report.js';
import { Visitor } from '../visitor.js';

export const name = 'refusal';

// As long as a file's reference may be.
const LONG = `PERISCOLAIRE-${'2026-2027-'.repeat(5)}X`;

export async function run({ visitor, commune, world, browser, check }) {
  const { page } = visitor;
  const asked = await commune.ask('2026-1003');
  await check('« Je fournirai la pièce moi-même » leads back without a code', async () => {
    await logIn(visitor, asked);
    const returned = await decide(visitor, commune, WORDS.fr.provide);
    const { searchParams } = new URL(returned);
    same(searchParams.get('error'), 'access_denied', 'error');
    ensure(!searchParams.has('code'), 'a code came back');
    await commune.complete(asked, returned).then(
      () => ensure(false, 'a grant came of a refusal'),
      (error) => ensure(error.code, error.message),
    );
    same((await commune.grants('2026-1003')).length, 0, 'grants');
  });
  await check('nothing stands in her history', async () => {
    await visitor.open('/autorisations');
    ensure(!(await visitor.text()).includes('2026-1003'), 'the refused request is an authorisation');
  });

  const second = await commune.ask(LONG);
  await check('a request of another file needs no second login', async () => {
    await page.goto(second.url);
    await visitor.at('/demande/');
    await visitor.reads(`n° ${LONG}`);
    await judge(visitor, 'demande-longue');
  });
  await check('the address of a request opens nothing in another browser', async () => {
    const other = await Visitor.come(browser, world);
    try {
      await other.open(page.url());
      await other.reads('Cette demande n’est plus ouverte');
      await judge(other, 'demande-perimee');
      other.behaved();
    } finally {
      await other.leave();
    }
  });
  await check('« Ce n’est pas vous ? » leads to the provider, and the file refuses somebody else', async () => {
    await page.getByRole('button', { name: /Ce n’est pas vous/ }).click();
    await visitor.at('/connexion');
    await visitor.reads('Étape 1 sur 2', 'La mairie de Clamart demande des informations');
    await judge(visitor, 'connexion-demande');
    await page.getByRole('link', { name: /FranceConnect/ }).click();
    await page.waitForURL((url) => url.origin === visitor.provider);
    same(new URL(page.url()).searchParams.get('prompt'), 'login', 'prompt');
    await page.getByRole('button', { name: /Pierre/ }).click();
    await visitor.at('/demande/');
    await visitor.reads('Votre identité n’est pas celle du dossier', 'Il reste 2 essais');
    ensure(!/Angela|DUBOIS|1962/i.test(await visitor.text()), 'the page names the person of the file');
    await judge(visitor, 'demande-autre-personne');
  });
  await check('he goes back to the town hall with a refusal', async () => {
    await page.getByRole('link', { name: 'Revenir au site de la mairie de Clamart' }).click();
    await page.waitForURL((url) => commune.isReturn(url));
    same(new URL(page.url()).searchParams.get('error'), 'access_denied', 'error');
    same((await commune.grants(LONG)).length, 0, 'grants');
  });
}
