// The grant and the stop by keyboard alone; wherever the focus is, it is seen.

import { reasonOf } from '../commune.js';
import { QF, WORDS, refused } from '../person.js';
import { ensure, same } from '../report.js';

export const name = 'keyboard';

const MOST_STOPS = 40;

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

// Presses Tab up to what `name` names; each stop on the way is seen and has a name.
async function tabTo(page, name) {
  const passed = [];
  for (let stop = 0; stop < MOST_STOPS; stop += 1) {
    await page.keyboard.press('Tab');
    const here = await focus(page);
    seen(here);
    if (name.test(here.name)) return;
    passed.push(here.name);
  }
  throw new Error(`Tab does not reach ${name}: ${passed.join(' | ')}`);
}

function seen(stop) {
  ensure(stop.name, `a stop has no name: ${stop.html}`);
  ensure(stop.style !== 'none' && stop.width >= 1, `no focus is seen on « ${stop.name} »`);
  ensure(stop.inView, `« ${stop.name} » has the focus out of sight`);
}

function focus(page) {
  return page.evaluate(() => {
    const element = document.activeElement;
    const { outlineStyle: style, outlineWidth } = getComputedStyle(element);
    const { top, bottom } = element.getBoundingClientRect();
    const label = element.labels?.[0]?.innerText ?? element.innerText ?? '';
    return {
      html: element.outerHTML.slice(0, 80),
      name: label.replaceAll(/\s+/g, ' ').trim(),
      style,
      width: Number.parseFloat(outlineWidth),
      inView: bottom > 0 && top < innerHeight,
    };
  });
}
