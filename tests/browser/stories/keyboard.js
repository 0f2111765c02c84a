// The grant and the stop by keyboard alone; wherever the focus is, it is seen.

import { reasonOf } from '../commune.js';
import { focus, seen, tabTo } from '../keys.js';
import { QF, WORDS, refused } from '../person.js';
import { ensure, same } from '../report.js';

export const name = 'keyboard';

export async function run({ visitor, commune, check }) {
  const { page } = visitor;
  const asked = await commune.ask('2026-1007');
  await check('at the provider', async () => {
    await page.goto(asked.url);
    await page.waitForURL((url) => url.origin === visitor.provider);
    await tabTo(page, /Angela/);
    await page.keyboard.press('Enter');
    await visitor.at('/demande/');
  });
  await check('the first stop skips to the content', async () => {
    await page.keyboard.press('Tab');
    const first = await focus(page);
    ensure(first.name.includes('Aller au contenu'), `the first stop is « ${first.name} »`);
    seen(first);
    await page.keyboard.press('Enter');
    same(await page.evaluate(() => document.activeElement.id), 'contenu', 'the focus');
  });
  const grant = await check('boxes by the space bar, the choice by Enter', async () => {
    await tabTo(page, WORDS.fr.household);
    await page.keyboard.press('Space');
    await tabTo(page, WORDS.fr.school);
    await page.keyboard.press('Space');
    await page.keyboard.press('Space');
    same(await page.getByRole('checkbox', { checked: true }).count(), 1, 'boxes ticked');
    await tabTo(page, /Le texte et vos droits/);
    await page.keyboard.press('Enter');
    await visitor.reads('Article L. 114‑8');
    await tabTo(page, /Récupérer pour moi/);
    await page.keyboard.press('Enter');
    await page.waitForURL((url) => commune.isReturn(url));
    const grant = await commune.complete(asked, page.url());
    same(grant.elements.map((e) => e.units), [['valeur', 'composition'], ['inscription']], 'granted');
    return grant;
  });
  await check('the stop', async () => {
    await visitor.open('/autorisations');
    await tabTo(page, /^Arrêter/);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/arreter$/);
    await tabTo(page, /^Arrêter$/);
    await page.keyboard.press('Enter');
    await page.waitForURL(/\/arretee$/);
    await refused(commune.fetch(grant, QF), reasonOf, 'GRANT_REVOKED');
  });
  await check('every stop of the history is seen and named', async () => {
    await visitor.open('/historique');
    await tabTo(page, /Accessibilité/);
  });
}
