// Angela stops what she had granted, in two browsers, while a producer's node is frozen: « en cours » as long as it might
// still hold a lease, then « effectif »; by itself where the browser runs scripts, at « Actualiser » where it does not.

import { reasonOf } from '../commune.js';
import { judge } from '../judge.js';
import { QF, STUDENT, WORDS, decide, effective, logIn, refused } from '../person.js';
import { ensure, same } from '../report.js';
import { Visitor } from '../visitor.js';

export const name = 'partition';
export const LEASE_MS = 8_000;
// A node pings each 200 ms: its last answered ping left that long before it froze, or somewhat more on a busy machine.
const PINGED_WITHIN_MS = 2_000;

// Grants, and goes as far as the question whether to stop.
async function granted(visitor, commune, dossier) {
  const asked = await commune.ask(dossier);
  await logIn(visitor, asked);
  const grant = await commune.complete(asked, await decide(visitor, commune, WORDS.fr.fetch));
  await visitor.open(`/autorisations/${grant.grant_id}/arreter`);
  return grant;
}

async function stop(visitor) {
  await visitor.page.getByRole('button', { name: 'Arrêter', exact: true }).click();
  await visitor.page.waitForURL(/\/arretee$/);
}

export async function run({ visitor, commune, world, browser, check }) {
  const { page } = visitor;
  const plain = await Visitor.come(browser, world, { javaScriptEnabled: false });
  const grants = await check('she grants in both, and comes to the question', async () => [
    await granted(visitor, commune, '2026-1020'),
    await granted(plain, commune, '2026-1021'),
  ]);
  const cnaf = await world.processOf('cnaf');
  let frozen;
  try {
    await check('the page says at once that it is under way, with its bound', async () => {
      frozen = Date.now();
      process.kill(cnaf, 'SIGSTOP');
      await stop(visitor);
      await visitor.reads('Retrait enregistré à', ', en cours', 'Au plus tard 8,4 secondes après');
      await page.evaluate(() => {
        window.changes = [];
        const region = document.querySelector('[role=status]');
        const watch = new MutationObserver(() => window.changes.push(region.innerText));
        watch.observe(region, { subtree: true, childList: true, characterData: true });
        document.querySelector('a[href^="/historique?"]').focus();
      });
      same(await page.getByRole('link', { name: 'Actualiser' }).count(), 0, 'what the script does is not asked of her');
    });
    await check('so does the page without script, with a button', async () => {
      await stop(plain);
      await plain.reads('Retrait enregistré à', ', en cours', 'Actualiser');
    });
    await check('the page is one for everyone', async () => {
      await plain.keep('retrait-en-cours-sans-script');
      await judge(visitor, 'retrait-en-cours');
    });
    await check('« Actualiser » waits until it is effective', () => effective(plain));
    await check('the other page has said so by itself: once, without a reload, and the focus has stayed', async () => {
      await page.getByText(/^Retrait effectif à/).waitFor();
      const changes = await page.evaluate(() => window.changes);
      same(changes.length, 1, 'changes of the live region');
      ensure(changes[0].includes('Retrait effectif à'), `it changed to « ${changes[0]} »`);
      const focused = await page.evaluate(() => document.activeElement.getAttribute('href'));
      ensure(focused?.startsWith('/historique?'), `the focus is at ${focused}`);
    });
    await check('it was not effective before the lease of the frozen node had run out', async () => {
      const answer = await page.evaluate(async (id) => (await fetch(`/autorisations/${id}/effet`)).json(), grants[0].grant_id);
      const [recorded, effective] = [answer.recorded_at, answer.effective_at].map((text) => Date.parse(text));
      console.log(`      effective ${effective - recorded} ms after the record, ${effective - frozen} ms after the freeze; lease ${LEASE_MS} ms`);
      ensure(effective - frozen >= LEASE_MS - PINGED_WITHIN_MS, `effective ${effective - frozen} ms after the freeze`);
    });
    await check('the proof says that one ledger was out of reach', async () => {
      await visitor.open(`/autorisations/${grants[0].grant_id}`);
      await visitor.reads('Le délai d’un registre injoignable s’est écoulé', '1 registre sur 1 a confirmé le retrait.');
    });
  } finally {
    process.kill(cnaf, 'SIGCONT');
  }
  await check('once the node is back, it refuses', async () => {
    for (const datatype of [QF, STUDENT]) await refused(commune.fetch(grants[0], datatype), reasonOf, 'GRANT_REVOKED');
  });
  await check('the browser without script complained of nothing', () => plain.behaved());
  await plain.leave();
}
