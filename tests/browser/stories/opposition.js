// What is fetched without Angela's asking: she sees it, objects, and changes her mind.

import { reasonOf } from '../commune.js';
import { judge } from '../judge.js';
import { tabTo } from '../keys.js';
import { QF, refused } from '../person.js';
import { ensure, same } from '../report.js';
import { Visitor } from '../visitor.js';

export const name = 'opposition';

const EVERYTHING = 'Tout ce qu’une administration récupère sans que je l’aie demandé';

async function logIn(visitor) {
  await visitor.open('/oppositions');
  await visitor.at('/connexion');
  await visitor.page.getByRole('link', { name: /FranceConnect/ }).first().click();
  await visitor.page.getByRole('button', { name: /Angela/ }).click();
  await visitor.at('/oppositions');
}

export async function run({ visitor, commune, world, browser, check }) {
  const { page } = visitor;
  const [grant, unused] = [await commune.askWithNobody('2026-1031'), await commune.askWithNobody('2026-1032')];
  await check('what nobody was asked for comes, and she finds it marked', async () => {
    same(Object.keys((await commune.fetch(grant, QF)).units), ['valeur'], 'units');
    await logIn(visitor);
    await visitor.open('/historique');
    await visitor.reads('Demandé automatiquement', 'n° 2026-1031', 'information sur vos droits');
    await visitor.open('/autorisations');
    await visitor.reads('Demandé sans vous', 'Demandé automatiquement');
    await page.getByRole('link', { name: 'vous y opposer' }).click();
    await visitor.at('/oppositions');
    await visitor.reads('Aucune opposition.');
    await judge(visitor, 'oppositions');
  });
  await check('without a choice nothing is recorded, and the focus is on what is missing', async () => {
    visitor.refuses(page.url());
    await page.getByRole('button', { name: 'M’opposer', exact: true }).click();
    await visitor.reads('Choisissez à quoi vous vous opposez.');
    same(await page.evaluate(() => document.activeElement.getAttribute('role')), 'alert', 'the focus');
    await judge(visitor, 'oppositions-erreur');
  });
  await check('she objects to everything by keyboard alone', async () => {
    await visitor.open('/oppositions');
    await tabTo(page, /^Tout ce qu’une administration récupère/);
    await page.keyboard.press('Space');
    await tabTo(page, /^M’opposer/);
    await page.keyboard.press('Enter');
    await page.waitForURL(/fait=enregistree/);
    await visitor.reads('Votre opposition est enregistrée.', 'Vos oppositions (1)', EVERYTHING);
    await judge(visitor, 'oppositions-enregistree');
  });
  await check('what stood is stopped, and the next request is refused', async () => {
    await refused(commune.fetch(unused, QF), reasonOf, 'GRANT_REVOKED');
    await refused(commune.askWithNobody('2026-1033'), reasonOf, 'OPPOSITION');
    same((await commune.grants('2026-1033')).length, 0, 'grants');
    await visitor.open('/autorisations');
    await visitor.reads('Arrêtées');
    await judge(visitor, 'autorisations-opposition');
  });
  await check('she lifts it without a script: what was stopped stays so, the next request is granted', async () => {
    const other = await Visitor.come(browser, world, { javaScriptEnabled: false });
    try {
      await logIn(other);
      await other.page.getByRole('button', { name: /^Lever l’opposition/ }).click();
      await other.page.waitForURL(/fait=levee/);
      await other.reads('Votre opposition est levée. Ce qui avait été arrêté reste arrêté dans votre compte', 'Aucune opposition.');
      ensure(await commune.askWithNobody('2026-1034'), 'no grant came');
      await refused(commune.fetch(unused, QF), reasonOf, 'GRANT_REVOKED');
      other.behaved();
    } finally {
      await other.leave();
    }
  });
}
