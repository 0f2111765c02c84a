// Angela takes out what is optional, in two browsers, while a producer's node is frozen: « en cours » on the grant's page as
// long as the old handle might still serve, then « effective », with a way to the proof, with scripts and without.

import { reasonOf } from '../commune.js';
import { judge } from '../judge.js';
import { QF, WORDS, decide, logIn, refused } from '../person.js';
import { ensure, same } from '../report.js';
import { Visitor } from '../visitor.js';

export const name = 'limitation';

// Grants with what is optional, and goes as far as the form without it.
async function granted(visitor, commune, dossier) {
  const { page } = visitor;
  const asked = await commune.ask(dossier);
  await logIn(visitor, asked);
  await page.getByLabel(WORDS.fr.household).check();
  const grant = await commune.complete(asked, await decide(visitor, commune, WORDS.fr.fetch));
  await visitor.open(`/autorisations/${grant.grant_id}`);
  await page.getByRole('link', { name: 'Limiter cette autorisation' }).click();
  await page.getByLabel(WORDS.fr.household).uncheck();
  return grant;
}

async function limit(visitor) {
  await visitor.page.getByRole('button', { name: 'Limiter', exact: true }).click();
  await visitor.page.waitForURL(/\/autorisations\/[^/]+$/);
}

export async function run({ visitor, commune, world, browser, check }) {
  const { page } = visitor;
  const plain = await Visitor.come(browser, world, { javaScriptEnabled: false });
  const [grant] = await check('she grants in both, and unticks what is optional', async () => [
    await granted(visitor, commune, '2026-1030'),
    await granted(plain, commune, '2026-1031'),
  ]);
  const cnaf = await world.processOf('cnaf');
  try {
    await check('the page says at once that it is under way', async () => {
      process.kill(cnaf, 'SIGSTOP');
      await limit(visitor);
      await visitor.reads('Limitation enregistrée à', ', en cours', 'Vous avez retiré : ');
      same(await page.getByRole('link', { name: /Actualiser|Voir la preuve/ }).count(), 0, 'links that the script keeps back');
      await page.locator('a[href^="/historique?"]').first().focus();
    });
    await check('so does the page without script, with a button', async () => {
      await limit(plain);
      await plain.reads('Limitation enregistrée à', ', en cours', 'Vous avez retiré : ');
      same(await plain.page.getByRole('link', { name: 'Actualiser' }).count(), 1, 'buttons');
    });
    await check('the page is one for everyone', () => judge(visitor, 'limitation-en-cours'));
    await check('« Actualiser » waits on it until it is effective', async () => {
      const refresh = plain.page.getByRole('link', { name: 'Actualiser' });
      let pressed = 0;
      for (; (await plain.text('.state')).trim() === 'En cours'; pressed += 1) {
        await Promise.all([plain.page.waitForEvent('load'), refresh.click()]);
      }
      console.log(`      pressed ${pressed} times`);
      ensure(pressed <= 3, `it was pressed ${pressed} times`);
      await plain.reads('Limitation effective depuis le', 'Preuve de la limitation');
    });
    await check('the other page has said so by itself, with a way to the proof, and the focus has stayed', async () => {
      await page.getByText(/^Limitation effective à/).waitFor();
      const focused = await page.evaluate(() => document.activeElement.getAttribute('href'));
      ensure(focused?.startsWith('/historique?'), `the focus is at ${focused}`);
      const region = await visitor.text('[role=status]');
      ensure(region.includes('Voir la preuve'), `the region says « ${region} »`);
      await judge(visitor, 'limitation-effective');
    });
    await check('the way leads to the proof, by the keyboard too', async () => {
      await page.getByRole('link', { name: 'Voir la preuve' }).focus();
      await page.keyboard.press('Enter');
      await page.waitForURL(/#preuve$/);
      await visitor.reads('Limitation effective depuis le', 'Le délai d’un registre injoignable s’est écoulé');
      ensure(await page.getByRole('heading', { name: 'Preuve de la limitation' }).isVisible(), 'the proof is not seen');
      same(await page.getByRole('link', { name: 'Télécharger la preuve' }).count(), 1, 'files offered');
      await judge(visitor, 'autorisation-limitee');
    });
  } finally {
    process.kill(cnaf, 'SIGCONT');
  }
  await check('once the node is back, the old handle serves no more, and the next one what she left', async () => {
    await refused(commune.fetch(grant, QF), reasonOf, 'GRANT_REVOKED');
    const [{ elements }] = await commune.grants('2026-1030');
    const active = elements.filter((element) => element.state === 'GRANT_STATE_ACTIVE');
    same(Object.keys((await commune.fetch({ elements: active }, QF)).units), ['valeur'], 'units');
  });
  await check('the browser without script complained of nothing', () => plain.behaved());
  await plain.leave();
}
