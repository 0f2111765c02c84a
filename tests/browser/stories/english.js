// The same for somebody who reads English, by the browser's language and by the page's switch.

import { judge } from '../judge.js';
import { WORDS, decide, logIn } from '../person.js';
import { ensure } from '../report.js';

export const name = 'english';
export const options = { locale: 'en-GB' };

export async function run({ visitor, commune, check }) {
  const { page } = visitor;
  const words = WORDS.en;
  const asked = await commune.ask('2026-1008');
  await check('the request is in the browser’s language', async () => {
    await logIn(visitor, asked);
    await visitor.reads('Clamart town hall asks for 4 items of information, 2 of them optional', 'no. 2026-1008', 'Once only.');
    await judge(visitor, 'demande-en', 'en');
  });
  await check('the switch changes the language for good, and back', async () => {
    await page.getByRole('link', { name: 'Français' }).click();
    await page.getByRole('button', { name: WORDS.fr.fetch }).waitFor();
    await visitor.open('/autorisations');
    await visitor.reads('Mes autorisations');
    await page.getByRole('link', { name: 'English' }).click();
    await page.getByRole('heading', { name: 'My authorisations' }).waitFor();
  });
  await check('she grants, reads her history and stops', async () => {
    await page.goto((await commune.ask('2026-1009')).url);
    await visitor.at('/demande/');
    await decide(visitor, commune, words.fetch);
    await visitor.open('/historique');
    await judge(visitor, 'historique-en', 'en');
    await visitor.open('/autorisations');
    await judge(visitor, 'autorisations-en', 'en');
    const card = page.getByRole('listitem').filter({ hasText: '2026-1009' });
    await card.getByRole('link', { name: /^Stop/ }).click();
    await page.getByRole('button', { name: words.stop, exact: true }).click();
    await page.waitForURL(/\/arretee$/);
    await page.getByText(/^Withdrawal effective at/).waitFor();
    ensure(/Withdrawal effective at \d\d:\d\d:\d\d/.test(await visitor.text()), 'the page does not say since when');
    await judge(visitor, 'retrait-effectif-en', 'en');
    await page.getByRole('link', { name: 'See the authorisation and the proof' }).click();
    await visitor.reads('Withdrawal effective since', 'Proof of the withdrawal', '1 ledger of 1 confirmed the withdrawal.');
    await judge(visitor, 'autorisation-effectif-en', 'en');
  });
}
