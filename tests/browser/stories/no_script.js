// From the link to the stop, in a browser that runs no script.

import { reasonOf } from '../commune.js';
import { QF, STUDENT, WORDS, decide, effective, logIn, refused } from '../person.js';
import { ensure, same } from '../report.js';

export const name = 'no script';
export const options = { javaScriptEnabled: false };

export async function run({ visitor, commune, check }) {
  const { page } = visitor;
  const asked = await commune.ask('2026-1005');
  const grant = await check('she grants, with what is optional', async () => {
    await logIn(visitor, asked);
    await page.getByLabel(WORDS.fr.household).check();
    return commune.complete(asked, await decide(visitor, commune, WORDS.fr.fetch));
  });
  await check('what she ticked comes, and nothing else', async () => {
    same(Object.keys((await commune.fetch(grant, QF)).units).sort(), ['composition', 'valeur'], 'units');
  });
  await check('she reads her history, filters it and takes it home', async () => {
    await visitor.open('/historique');
    await visitor.reads('n° 2026-1005');
    await page.getByText('Filtrer', { exact: true }).click();
    await page.getByLabel('Information', { exact: true }).selectOption({ label: 'Quotient familial (CAF ou MSA)' });
    await page.getByRole('button', { name: 'Appliquer' }).click();
    await page.waitForURL(/information=/);
    await visitor.reads('n° 2026-1005', 'filtre actif');
    const download = page.waitForEvent('download');
    await page.getByRole('link', { name: /CSV/ }).click();
    ensure((await (await download).path()).length > 0, 'no file came');
  });
  await check('she stops it', async () => {
    await visitor.open('/autorisations');
    await page.getByRole('listitem').filter({ hasText: '2026-1005' }).getByRole('link', { name: /^Arrêter/ }).click();
    await page.getByRole('button', { name: 'Arrêter', exact: true }).click();
    await page.waitForURL(/\/arretee$/);
    await effective(visitor);
  });
  await check('the next fetch is refused', () => refused(commune.fetch(grant, STUDENT), reasonOf, 'GRANT_REVOKED'));
  await check('she provides the paper for another file', async () => {
    const second = await commune.ask('2026-1006');
    await page.goto(second.url);
    await visitor.at('/demande/');
    const returned = await decide(visitor, commune, WORDS.fr.provide);
    same(new URL(returned).searchParams.get('error'), 'access_denied', 'error');
  });
  await check('she logs out', async () => {
    await visitor.open('/');
    await page.getByRole('button', { name: 'Se déconnecter' }).click();
    await page.waitForURL((url) => url.origin === visitor.portal && url.pathname === '/');
    await visitor.reads('Se connecter');
  });
}
