// The commune's letter holds a link: Angela follows it on her telephone, in no session of the commune's.

import { judge } from '../judge.js';
import { QF, WORDS, decide, logIn } from '../person.js';
import { ensure, same } from '../report.js';
import { Visitor } from '../visitor.js';

export const name = 'link';
export const options = { viewport: { width: 360, height: 740 } };

export async function run({ visitor, commune, world, browser, check }) {
  const { page } = visitor;
  const asked = await commune.askByLink('2026-1015');
  await check('the link is drawn too, and the drawing can be looked at', async () => {
    ensure(asked.drawn.startsWith('<svg '), asked.drawn.slice(0, 80));
    await page.setContent(`<!doctype html><html lang="fr"><title>Votre courrier</title><h1>Votre courrier</h1>${asked.drawn}</html>`);
    const box = await page.locator('svg').boundingBox();
    ensure(box.width >= 100 && Math.abs(box.width - box.height) < 1, `${box.width} by ${box.height}`);
    await visitor.keep('lien-qr');
  });
  await check('somebody else who has the link is not put before the request, and uses nothing up', async () => {
    const other = await Visitor.come(browser, world);
    try {
      await logIn(other, asked, /Pierre/);
      await other.reads('Votre identité n’est pas celle du dossier');
      ensure(!/Angela|DUBOIS|1962/i.test(await other.text()), 'the page names the person of the file');
      await judge(other, 'lien-autre-personne');
      other.behaved();
    } finally {
      await other.leave();
    }
  });
  await check('she follows it, and grants', async () => {
    await logIn(visitor, asked);
    await visitor.reads('n° 2026-1015');
    await judge(visitor, 'lien-demande');
    const grant = await commune.complete(asked, await decide(visitor, commune, WORDS.fr.fetch));
    same(Object.keys((await commune.fetch(grant, QF)).units), ['valeur'], 'units');
  });
  await check('the same link leads nowhere then, and the page says what to do', async () => {
    await visitor.open(new URL(asked.url).pathname + new URL(asked.url).search, 400);
    await visitor.reads('Cette demande n’est plus ouverte', 'une nouvelle demande sera préparée');
    await judge(visitor, 'lien-suivi');
  });
}
