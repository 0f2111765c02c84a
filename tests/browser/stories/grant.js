// Angela lets the town hall fetch what two administrations hold, leaving one thing out, and sees what was exchanged.

import { readFile } from 'node:fs/promises';

import { reasonOf } from '../commune.js';
import { judge } from '../judge.js';
import { QF, STUDENT, WORDS, decide, logIn, refused } from '../person.js';
import { ensure, same } from '../report.js';

export const name = 'grant';

export async function run({ visitor, commune, check }) {
  const { page } = visitor;
  const words = WORDS.fr;
  const asked = await commune.ask('2026-1001');

  await check('the link leads to the login, then to the request of the file', async () => {
    await logIn(visitor, asked);
    await visitor.reads(
      'La mairie de Clamart demande 4 informations, dont 2 facultatives',
      'Angela DUBOIS',
      'n° 2026-1001',
      'Caisse nationale des allocations familiales',
      'Ministère de l’Enseignement supérieur',
      'SIREN 219 200 235',
    );
  });
  await check('nothing optional is ticked for her', async () => {
    same(await page.getByRole('checkbox').count(), 2, 'boxes');
    same(await page.getByRole('checkbox', { checked: true }).count(), 0, 'boxes ticked');
  });
  await check('the two buttons weigh the same', async () => {
    const [fetch, provide] = await Promise.all(
      [words.fetch, words.provide].map((text) =>
        page.getByRole('button', { name: text }).evaluate((button) => {
          const { width, height } = button.getBoundingClientRect();
          const { color, backgroundColor, fontSize, fontWeight } = getComputedStyle(button);
          return { width, height, color, backgroundColor, fontSize, fontWeight };
        }),
      ),
    );
    same(fetch, provide, 'the first button');
  });
  await check('the request is a page for everyone', () => judge(visitor, 'demande'));

  const grant = await check('she ticks two, unticks one, and comes back to the town hall with a code', async () => {
    await page.getByLabel(words.household).check();
    await page.getByLabel(words.school).check();
    await page.getByLabel(words.household).uncheck();
    const returned = await decide(visitor, commune, words.fetch);
    const { searchParams } = new URL(returned);
    same([...searchParams.keys()].sort(), ['code', 'iss', 'state'], 'parameters');
    same(searchParams.get('iss'), visitor.portal, 'issuer');
    return commune.complete(asked, returned);
  });
  await check('what she unticked is not granted', () => {
    const units = Object.fromEntries(grant.elements.map((e) => [e.datatype, e.units]));
    same(units, { [QF]: ['valeur'], [STUDENT]: ['inscription', 'etablissement'] }, 'granted');
  });
  await check('what she unticked does not come', async () => {
    const qf = await commune.fetch(grant, QF);
    same(Object.keys(qf.units), ['valeur'], 'units of the CNAF');
    ensure(qf.units.valeur.includes('612'), `the quotient is ${qf.units.valeur}`);
    ensure(!Object.values(qf.units).join().includes('LEO'), 'the child came');
    const student = await commune.fetch(grant, STUDENT);
    same(Object.keys(student.units).sort(), ['etablissement', 'inscription'], 'units of the ministry');
  });
  await check('what was granted once serves once', () => refused(commune.fetch(grant, QF), reasonOf, 'TOKEN_CONSUMED'));

  await check('the way back shows no second choice and says nothing false', async () => {
    await page.goBack();
    await page.reload();
    same(await page.getByRole('button', { name: words.fetch }).count(), 0, 'buttons');
    const text = await visitor.text();
    ensure(!/Aucune information n.a été/.test(text), 'the page says that nothing was sent');
    await judge(visitor, 'demande-repondue');
  });

  await check('her authorisations show the grant as ended, with its exchanges', async () => {
    await visitor.open('/autorisations');
    await visitor.reads('Terminées', 'La mairie de Clamart', 'n° 2026-1001', 'Quotient familial (CAF ou MSA)', '2 échanges');
    await judge(visitor, 'autorisations');
  });
  await check('the detail says what she left out', async () => {
    await page.getByRole('link', { name: /^Voir l/ }).click();
    await visitor.at('/autorisations/');
    await visitor.reads('Vous n’avez pas coché', 'La composition de votre foyer', 'Votre établissement');
    await judge(visitor, 'autorisation');
  });
  await check('the history shows each exchange, from both ends', async () => {
    await page.getByRole('link', { name: 'Historique', exact: true }).click();
    await visitor.at('/historique');
    await visitor.reads('administrations sur', 'La mairie de Clamart a reçu une réponse de la caisse nationale', 'réponse transmise', 'n° 2026-1001');
    const text = await visitor.text();
    ensure(!text.includes('non confirmée'), 'a reception is not confirmed');
    ensure(!text.includes('612'), 'the page holds a value that was exchanged');
    await judge(visitor, 'historique');
  });
  await check('each exchange has a proof and a receipt to take home', async () => {
    for (const [label, begins] of [[/^Preuve/, 'c2sp.org/tlog-proof'], [/^Reçu/, '']]) {
      const download = page.waitForEvent('download');
      await page.getByRole('link', { name: label }).first().click();
      const bytes = await readFile(await (await download).path(), 'utf8');
      ensure(bytes.length > 100 && bytes.startsWith(begins), `a file begins « ${bytes.slice(0, 60)} »`);
    }
  });
  await check('the history is filtered by result, and its filter can be taken off', async () => {
    await page.getByText('Filtrer', { exact: true }).click();
    await page.getByLabel('Résultat').selectOption({ label: 'refusé, rien n’a été transmis' });
    await page.getByRole('button', { name: 'Appliquer' }).click();
    await page.waitForURL(/resultat=/);
    await visitor.reads('filtre actif');
    await judge(visitor, 'historique-filtre');
    await page.getByRole('link', { name: 'Tout montrer' }).click();
    await page.waitForURL((url) => url.pathname === '/historique' && url.search === '');
  });
}
