// Angela stops what she had granted; once that is effective, the next fetch is refused.

import { readFile } from 'node:fs/promises';

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
  const second = await visitor.context.newPage();
  await second.goto(page.url());
  const told = await check('the withdrawal is recorded, then effective, on one page', async () => {
    await page.getByRole('button', { name: 'Arrêter', exact: true }).click();
    await page.waitForURL(/\/arretee$/);
    await page.getByText(/^Retrait effectif à/).waitFor();
    const text = await visitor.text('[role=status]');
    ensure(/Retrait effectif à \d\d:\d\d:\d\d/.test(text), `the page says « ${text} »`);
    await judge(visitor, 'retrait-effectif');
    return text;
  });
  await check('the same button in another tab leads to the same page, with the same instant', async () => {
    await second.getByRole('button', { name: 'Arrêter', exact: true }).click();
    await second.waitForURL(/\/arretee$/);
    visitor.page = second;
    same(await visitor.text('[role=status]'), told, 'the page');
    visitor.page = page;
    await second.close();
  });
  await check('the next fetch is refused', () => refused(commune.fetch(grant, QF), reasonOf, 'GRANT_REVOKED'));
  await check('the authorisation is among those stopped, with nothing left to stop', async () => {
    await visitor.open('/autorisations');
    await visitor.reads('Arrêtées', 'Retrait effectif depuis le');
    same(await page.getByRole('link', { name: /^Arrêter/ }).count(), 0, 'stops offered');
    await judge(visitor, 'autorisations-arretees');
  });
  await check('its detail says what the proof rests on, and gives it', async () => {
    await page.getByRole('listitem').filter({ hasText: '2026-1002' }).getByRole('link', { name: /^Voir/ }).click();
    await visitor.at('/autorisations/');
    await visitor.reads('Retrait effectif depuis le', 'Preuve du retrait', '1 registre sur 1 a confirmé le retrait.');
    await judge(visitor, 'autorisation-effectif');
    const download = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Télécharger la preuve' }).click();
    const { proofs } = JSON.parse(await readFile(await (await download).path(), 'utf8'));
    const states = proofs.map(({ effect }) => JSON.parse(effect).logs.map((log) => log.standing.state));
    same(states, [['acknowledged'], ['acknowledged']], 'what the logs said');
    ensure(proofs.every(({ receipt }) => receipt.proof.startsWith('c2sp.org/tlog-proof')), 'a receipt is missing');
  });
  await check('the history shows what was sent before, and that nothing was after', async () => {
    await visitor.open('/historique');
    const rows = page.locator('.entry').filter({ hasText: '2026-1002' });
    same(await rows.count(), 1, 'exchanges of this file');
    ensure((await rows.innerText()).includes('a reçu une réponse du ministère'), 'the answer is not there');
    await judge(visitor, 'historique-retrait');
  });
}
