// An officer at a desk asks for Angela, who is not there; she finds it marked, and stops it.

import { ANGELA, reasonOf } from '../commune.js';
import { judge } from '../judge.js';
import { tabTo } from '../keys.js';
import { QF, STUDENT, WORDS, effective, refused } from '../person.js';
import { ensure, same } from '../report.js';
import { Visitor } from '../visitor.js';

export const name = 'agent';

const MOTIVE = 'demande reçue au guichet le 24 novembre';
const FETCH = 'Récupérer ces informations';
const NOTHING = 'Ne rien récupérer';

// Follows the link in the commune's software, and at ProConnect says who it is.
async function logIn(visitor, asked, who = /Camille/) {
  const { page } = visitor;
  await page.goto(asked.url);
  await page.waitForURL((url) => url.origin === visitor.provider);
  await page.getByRole('button', { name: who }).click();
  await visitor.at('/agent/');
}

async function choose(visitor, commune, button) {
  await visitor.page.getByRole('button', { name: button, exact: true }).click();
  await visitor.page.waitForURL((url) => commune.isReturn(url));
  return visitor.page.url();
}

export async function run({ visitor, commune, world, browser, check }) {
  const { page } = visitor;
  await check('a file that does not say all of who is meant, or why, is not put before an officer', async () => {
    for (const lacking of [{ birthdate: '1962' }, { birthplace: '' }, { sex: 'SEX_UNSPECIFIED' }, { given_names: [] }]) {
      const identity = { ...ANGELA, ...lacking };
      await refused(commune.askByOfficer('2026-1020', MOTIVE, identity), reasonOf, 'INVALID_REQUEST');
    }
    await refused(commune.askByOfficer('2026-1020', ''), reasonOf, 'INVALID_REQUEST');
  });
  const asked = await commune.askByOfficer('2026-1021', MOTIVE);
  const grant = await check('the officer reads for whom and why, and asks by keyboard alone', async () => {
    await logIn(visitor, asked);
    await visitor.reads('Camille EXEMPLE', 'Angela Claire Louise Dubois', '24 août 1962', MOTIVE, 'n° 2026-1021');
    await visitor.reads('La personne verra cet échange dans son historique');
    same(await page.getByRole('checkbox', { checked: true }).count(), 0, 'boxes ticked');
    await judge(visitor, 'agent');
    await page.reload();
    await tabTo(page, WORDS.fr.household);
    await page.keyboard.press('Space');
    await tabTo(page, /Récupérer ces informations/);
    await page.keyboard.press('Enter');
    await page.waitForURL((url) => commune.isReturn(url));
    const grant = await commune.complete(asked, page.url());
    same(grant.elements.map((e) => e.units), [['valeur', 'composition'], ['inscription']], 'granted');
    return grant;
  });
  await check('what was asked comes', async () => {
    same(Object.keys((await commune.fetch(grant, QF)).units).sort(), ['composition', 'valeur'], 'units');
  });
  await check('a second answer to the same request leads nowhere, and says so', async () => {
    await visitor.open(new URL(asked.url).pathname + new URL(asked.url).search, 400);
    await visitor.reads('Cette demande n’est plus ouverte', 'recommencez depuis le dossier');
  });
  await check('nothing is fetched where the officer chooses that', async () => {
    const second = await commune.askByOfficer('2026-1022', MOTIVE);
    await page.goto(second.url);
    await visitor.at('/agent/');
    same(new URL(await choose(visitor, commune, NOTHING)).searchParams.get('error'), 'access_denied', 'error');
    same((await commune.grants('2026-1022')).length, 0, 'grants');
  });
  await check('the same without a script, in English', async () => {
    const other = await Visitor.come(browser, world, { javaScriptEnabled: false, locale: 'en-GB' });
    try {
      const third = await commune.askByOfficer('2026-1023', MOTIVE);
      await logIn(other, third);
      await other.reads('Ask in a person’s place', '24 August 1962', MOTIVE);
      const returned = await choose(other, commune, 'Fetch this information');
      ensure(await commune.complete(third, returned), 'no grant came');
      other.behaved();
    } finally {
      await other.leave();
    }
  });
  await check('a session that has ended counts for nothing, says so, and leads back to officers’ login', async () => {
    const fourth = await commune.askByOfficer('2026-1024', MOTIVE);
    await page.goto(fourth.url);
    await visitor.at('/agent/');
    await visitor.context.clearCookies();
    visitor.refuses(page.url());
    await page.getByRole('button', { name: FETCH, exact: true }).click();
    await page.getByRole('heading', { name: 'Votre session a pris fin' }).waitFor();
    await judge(visitor, 'agent-session');
    await page.getByRole('link', { name: 'Se connecter de nouveau' }).click();
    await visitor.at('/connexion');
    await visitor.reads('Demande par un agent');
    await page.getByRole('link', { name: /ProConnect/ }).click();
    await page.waitForURL((url) => url.origin === visitor.provider);
    await page.getByRole('button', { name: /Camille/ }).click();
    await visitor.at('/agent/');
    await visitor.reads('Cette demande n’est plus ouverte', 'recommencez depuis le dossier');
    await judge(visitor, 'agent-expiree');
    same((await commune.grants('2026-1024')).length, 0, 'grants');
  });
  await check('an officer of another body is refused, with what to do', async () => {
    const other = await Visitor.come(browser, world);
    try {
      const fifth = await commune.askByOfficer('2026-1025', MOTIVE);
      await other.page.goto(fifth.url);
      await other.page.waitForURL((url) => url.origin === other.provider);
      other.refusesUnder('/agent/');
      await other.page.getByRole('button', { name: /Dominique/ }).click();
      await other.at('/agent/');
      await other.reads('Vous ne pouvez pas demander pour cette administration', 'NOT_ENTITLED');
      ensure(!/Angela|Dubois|1962/.test(await other.text()), 'the page names the person of the file');
      await judge(other, 'agent-autre-administration');
      other.behaved();
    } finally {
      await other.leave();
    }
  });
  await check('Angela is told first, sees who asked and why, in her list and in her history', async () => {
    const person = await Visitor.come(browser, world);
    try {
      await person.open('/connexion');
      await person.page.getByRole('link', { name: /FranceConnect/ }).first().click();
      await person.page.getByRole('button', { name: /Angela/ }).click();
      await person.at('/autorisations');
      await person.reads('Demandé sans vous', `Demandé par un agent (motif : ${MOTIVE})`);
      ensure(!(await person.text()).includes('Camille'), 'the page names the officer');
      await judge(person, 'autorisations-agent');
      await person.open('/historique');
      await person.reads(`Demandé par un agent (motif : ${MOTIVE})`, 'n° 2026-1021');
      await judge(person, 'historique-agent');
      const later = await commune.askByOfficer('2026-1026', MOTIVE);
      await person.page.goto(later.url);
      await person.at('/connexion');
      await person.reads('Vous êtes connecté·e avec votre identité personnelle', 'agent de la mairie de Clamart');
      await judge(person, 'agent-connexion');
      await person.open('/autorisations');
      const card = person.page.getByRole('listitem').filter({ hasText: '2026-1021' });
      await card.getByRole('link', { name: /^Arrêter/ }).click();
      await person.page.getByRole('button', { name: WORDS.fr.stop, exact: true }).click();
      await person.page.waitForURL(/\/arretee$/);
      await effective(person);
      await refused(commune.fetch(grant, STUDENT), reasonOf, 'GRANT_REVOKED');
      person.behaved();
    } finally {
      await person.leave();
    }
  });
}
