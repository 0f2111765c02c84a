// What is asked of every page, whoever reads it and however.

import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';

import { ensure } from './report.js';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
const WIDE = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740 };
// Kept in the dark too.
const DARK = ['connexion', 'demande', 'historique-filtre', 'retrait', 'retrait-en-cours', 'retrait-effectif', 'autorisations-arretees', 'limitation-en-cours'];
// 1280 px seen at 400 % (WCAG 2.2, 1.4.10).
const NARROW = { width: 320, height: 640 };

// Judges the page that `visitor` looks at, and keeps it as `name` at two widths.
export async function judge(visitor, name, lang = 'fr') {
  const { page } = visitor;
  const seen = await page.evaluate(() => {
    const shown = (element) => element.type !== 'hidden' && element.checkVisibility();
    const controls = [...document.querySelectorAll('input, select, textarea')].filter(shown);
    const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
    return {
      lang: document.documentElement.lang,
      title: document.title,
      h1: [...document.querySelectorAll('h1')].map((h1) => h1.innerText.trim()),
      unlabelled: controls.filter((c) => !c.labels?.length).map((c) => c.outerHTML),
      twice: ids.filter((id, n) => ids.indexOf(id) !== n),
      levels: [...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1])),
    };
  });
  ensure(seen.lang === lang, `${name}: html lang is « ${seen.lang} », not « ${lang} »`);
  ensure(seen.title.length > 3, `${name}: no title`);
  ensure(seen.h1.length === 1 && seen.h1[0], `${name}: ${seen.h1.length} h1`);
  ensure(seen.unlabelled.length === 0, `${name}: no label on ${seen.unlabelled.join(' ')}`);
  ensure(seen.twice.length === 0, `${name}: ids used twice: ${seen.twice.join(' ')}`);
  const jump = seen.levels.findIndex((level, n) => n > 0 && level > seen.levels[n - 1] + 1);
  ensure(jump === -1, `${name}: a heading level is skipped: ${seen.levels.join(' ')}`);

  await page.evaluate(AXE);
  await clean(page, name, { runOnly: RULES });
  await page.emulateMedia({ colorScheme: 'dark' });
  await clean(page, `${name}, dark`, { runOnly: { type: 'rule', values: ['color-contrast'] } });
  await page.emulateMedia({ colorScheme: 'light' });

  await page.setViewportSize(NARROW);
  await fits(page, `${name} at ${NARROW.width} px`);
  await targets(page, name);
  await page.setViewportSize(WIDE);
  await page.evaluate(() => { document.documentElement.style.fontSize = '200%'; });
  await fits(page, `${name} with text at 200 %`);
  await page.evaluate(() => { document.documentElement.style.fontSize = ''; });

  await page.setViewportSize(PHONE);
  await visitor.keep(`${name}-${PHONE.width}`);
  await page.setViewportSize(WIDE);
  await visitor.keep(`${name}-${WIDE.width}`);
  if (DARK.includes(name)) {
    await page.emulateMedia({ colorScheme: 'dark' });
    await visitor.keep(`${name}-${WIDE.width}-dark`);
    await page.emulateMedia({ colorScheme: 'light' });
  }
}

// No violation that axe knows.
async function clean(page, name, options) {
  const found = await page.evaluate(async (options) => {
    const { violations } = await axe.run(document, { ...options, resultTypes: ['violations'] });
    return violations.map((v) => `${v.id}: ${v.help} (${v.nodes.map((n) => n.target.join(' ')).join(', ')})`);
  }, options);
  ensure(found.length === 0, `${name}: ${found.join('\n')}`);
}

// Nothing lies beyond the right edge.
async function fits(page, name) {
  const beyond = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return '';
    const wide = [...document.querySelectorAll('body *')].filter(
      (element) => element.getBoundingClientRect().right > clientWidth + 1,
    );
    return `${scrollWidth} px wide: ${wide.slice(0, 3).map((e) => e.outerHTML.slice(0, 80)).join(' ')}`;
  });
  ensure(!beyond, `${name}: the page is ${beyond}`);
}

// What is pressed is 44 px high; a link inside a sentence is as high as its line.
async function targets(page, name) {
  const small = await page.evaluate(() => {
    const shown = [...document.querySelectorAll('a, button, summary, select, input:not([type=hidden])')].filter(
      (element) => element.checkVisibility() && !element.matches('.skip'),
    );
    const alone = (element) => getComputedStyle(element).display !== 'inline';
    const height = (element) => {
      const boxes = [element, ...(element.labels ?? [])].map((e) => e.getBoundingClientRect().height);
      return Math.max(...boxes);
    };
    return shown
      .filter((element) => alone(element) && height(element) < 43.5)
      .map((element) => `${element.outerHTML.slice(0, 80)} is ${height(element)} px`);
  });
  ensure(small.length === 0, `${name}: small targets: ${small.join('\n')}`);
}
