// The keyboard alone: where Tab leads, and whether that is seen.

import { ensure } from './report.js';

const MOST_STOPS = 40;

// Presses Tab up to what `name` names; each stop on the way is seen and has a name.
export async function tabTo(page, name) {
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

// The focus is where it can be seen.
export function seen(stop) {
  ensure(stop.name, `a stop has no name: ${stop.html}`);
  ensure(stop.style !== 'none' && stop.width >= 1, `no focus is seen on « ${stop.name} »`);
  ensure(stop.inView, `« ${stop.name} » has the focus out of sight`);
}

// Where the focus is.
export function focus(page) {
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
