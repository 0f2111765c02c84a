// Angela stops what she had granted; the next fetch is refused.

import { reasonOf } from '../commune.js';
import { judge } from '../judge.js';
import { QF, STUDENT, WORDS, decide, logIn, refused } from '../person.js';
import { ensure, same } from '../report.js';

export const name = 'withdrawal';

export async function run({ visitor, commune, check }) {
  const { page } = visitor;
  const asked = await commune.ask('2026-1002');
  const grant = await check('a button pressed twice grants once', async () => {
    await logIn(visitor, asked);
    const grant = await commune.complete(asked, await decide(visitor, commune, WORDS.fr.fetch, 2));
    await commune.fetch(grant, STUDENT);
    return grant;
  });

  await check('her authorisations offer to stop it', async () => {
    await visitor.open('/autorisations');
    await visitor.reads('En cours', 'n° 2026-1002');
    await judge(visitor, 'autorisations-en-cours');
    await page.getByRole('listitem').filter({ hasText: '2026-1002' }).getByRole('link', { name: /^Arrêter/ }).click();
    await page.waitForURL(/\/arreter$/);
  });
  await check('the question says what will happen, and may be left', async () => {
    await visitor.reads(
      'n’est pas effacé chez la mairie de Clamart',
      'délégué à la protection des données',
      'n° 2026-1002',
    );
    await judge(visitor, 'retrait');
    await page.getByRole('link', { name: 'Annuler' }).click();
    await visitor.at('/autorisations/');
    await visitor.reads('En cours');
    await page.goBack();
  });
  await check('the stop is recorded, with its bound, and never said to hold', async () => {
    await page.getByRole('button', { name: 'Arrêter', exact: true }).click();
    await page.waitForURL(/\/arretee$/);
    const text = await visitor.text();
    ensure(/Arrêt enregistré à \d\d:\d\d:\d\d/.test(text), 'the page does not say that the stop is recorded');
    ensure(text.includes('Au plus tard une seconde après'), 'the page does not say the bound');
    ensure(!/effecti[fv]/i.test(text), 'the page says that the stop is effective');
    await judge(visitor, 'retrait-enregistre');
  });
  await check('the next fetch is refused', () => refused(commune.fetch(grant, QF), reasonOf, 'GRANT_REVOKED'));
  await check('the authorisation is among those stopped, with nothing left to stop', async () => {
    await visitor.open('/autorisations');
    await visitor.reads('Arrêtées', 'Arrêt enregistré le');
    same(await page.getByRole('link', { name: /^Arrêter/ }).count(), 0, 'stops offered');
    await judge(visitor, 'autorisations-arretees');
  });
  await check('the history shows what was sent and what was refused, with why', async () => {
    await visitor.open('/historique');
    await visitor.reads('La mairie de Clamart n’a rien reçu de la caisse nationale', 'Vous avez arrêté cette autorisation.');
    await judge(visitor, 'historique-refus');
  });
}
