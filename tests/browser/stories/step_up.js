// Angela is logged in at FranceConnect, and the town hall asks for what needs a surer identity; then an officer logs in.

import { judge } from '../judge.js';
import { WORDS, decide, logIn } from '../person.js';
import { ensure, same } from '../report.js';

export const name = 'step up';

const INCOME = [
  {
    datatype: 'dgfip/revenu-fiscal-de-reference@1',
    units: [
      { unit: 'revenu', need: 'NEED_REQUIRED' },
      { unit: 'foyer', need: 'NEED_OPTIONAL' },
    ],
  },
];

export async function run({ visitor, commune, check }) {
  const { page } = visitor;
  await logIn(visitor, await commune.ask('2026-1011'));
  const asked = await commune.ask('2026-1012', INCOME);
  await check('she is told why FranceConnect is not enough, and shown one other way', async () => {
    await page.goto(asked.url);
    await visitor.at('/connexion');
    await visitor.reads('Une connexion plus sûre est nécessaire', 'connecté·e avec FranceConnect.', 'Votre demande vous attend');
    same(await page.getByRole('link', { name: /S’identifier avec/ }).count(), 1, 'ways');
    await judge(visitor, 'connexion-renforcee');
  });
  await check('the page then says what is asked, and whom it concerns', async () => {
    await page.getByRole('link', { name: /FranceConnect\+/ }).click();
    await page.waitForURL((url) => url.origin === visitor.provider);
    await page.getByRole('button', { name: /Angela/ }).click();
    await visitor.at('/demande/');
    await visitor.reads('Direction générale des finances publiques', 'revenu fiscal de référence', 'FranceConnect+');
    ensure(!(await page.getByRole('checkbox').isChecked()), 'what concerns the household is ticked');
    await judge(visitor, 'demande-revenu');
  });
  await check('what she grants goes back to the town hall', async () => {
    const returned = await decide(visitor, commune, WORDS.fr.fetch);
    const grant = await commune.complete(asked, returned);
    ensure(grant, 'no grant came');
    same((await commune.grants('2026-1012')).length, 1, 'grants');
  });
  await check('an officer is shown who they are, and sent on from a page of people', async () => {
    await visitor.open('/');
    await page.getByRole('button', { name: 'Se déconnecter' }).click();
    await page.waitForURL((url) => url.origin === visitor.portal && url.pathname === '/');
    await visitor.open('/connexion');
    await judge(visitor, 'connexion-tous');
    await page.getByRole('link', { name: /ProConnect/ }).click();
    await page.waitForURL((url) => url.origin === visitor.provider);
    await page.getByRole('button', { name: /Camille/ }).click();
    await visitor.at('/');
    await visitor.reads('Vous êtes connecté·e comme agent', 'Camille EXEMPLE', '21920023500014');
    await judge(visitor, 'accueil-agent');
    await visitor.open('/autorisations');
    await visitor.at('/connexion');
    await visitor.reads('Cette page est celle d’une personne.');
    await judge(visitor, 'connexion-agent');
  });
}
