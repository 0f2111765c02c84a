// The other ways to ask, by npm `openid-client` and `jose`: for somebody who is helped, by a mandate; by an officer, and with
// nobody present, for a person whose identity is sealed to the authority (RFC 7516).

import assert from 'node:assert/strict';
import * as jose from 'jose';
import * as oauth from 'openid-client';
import { Browser } from './browser.mjs';
import { check, refused } from './check.mjs';
import { BACK, CLAMART, CLAMART_BACK, CNAF, client, details, elementAt, push } from './consumer.mjs';
import { receiptOf } from './grant.mjs';
import { angela, arrive, choose, persona, toProvider } from './person.mjs';

/** What a file holds of Angela, as JSON of `SealedSubject`. */
const ANGELA = {
  family_name: 'DUBOIS',
  given_names: ['Angela', 'Claire', 'Louise'],
  birthdate: '1962-08-24',
  gender: 'female',
  birthplace: '75107',
  birthcountry: '99100',
};
/** What is sealed is padded with spaces to so many bytes, so that its length tells nothing. */
const PADDED = 1024;
const AUTOMATIC = 'urn:unefois:grant-type:automatic';

/** Every check; answers the tokens and the receipts that come of them. */
export async function ways(addresses) {
  const helped = await byMandate(addresses);
  const clamart = await client(addresses, 'clamart', CLAMART);
  const officer = await byOfficer(addresses, clamart);
  const nobody = await withNobody(addresses, clamart);
  return [helped, officer, nobody];
}

/** Angela lets Pierre help her with school matters; he answers for her file, and for no other. */
async function byMandate(addresses) {
  const config = await client(addresses);
  const { portal } = addresses;
  const own = new Browser();
  const entry = async (browser, path) => {
    const choice = await browser.open(`${portal}/connexion?suite=${encodeURIComponent(path)}`);
    return toProvider(browser, choice);
  };
  const invitation = await check('who is helped gives a mandate at the portal', async () => {
    const page = await angela(own, await entry(own, '/mandats'));
    const until = new Date(Date.now() + 86_400_000).toISOString().slice(0, 10);
    const shown = await own.submit(page, 'fin', { 'p.famille': '1', fin: until });
    const [link] = shown.body.match(/\/mandats\/invitation\/[\w-]+/) ?? [];
    assert.ok(link, shown.body);
    return link;
  });
  const helper = { capacity: 'helper' };
  const pierre = persona('pierre');
  await check('without a mandate nobody answers for another, and the asker is told', async () => {
    const { url, expected } = await push(config, 'helped-1', helper);
    const { page } = await arrive(url, pierre);
    assert.ok(!page.body.includes('name="choix"'));
    await refused(oauth.authorizationCodeGrant(config, new URL(page.link(BACK)), expected), 'access_denied');
  });
  const browser = new Browser();
  await check('who was invited is nobody until the one who is helped has recognised them', async () => {
    await browser.open(new URL(invitation, portal));
    const page = await pierre(browser, await entry(browser, '/mandats/invitation'));
    assert.ok(!page.body.includes('DUBOIS'), 'the page names nobody');
    await browser.send(page, page.formTo('/mandats/invitation'), {});
    const { url } = await push(config, 'helped-3', helper);
    assert.ok(!(await browser.open(url)).body.includes('name="choix"'));
    const asked = await own.open(`${portal}/mandats`);
    assert.ok(asked.body.includes('Pierre MERCIER'), asked.body);
    await own.send(asked, asked.formTo('/accepter'), {});
  });
  return check('a helper answers by the mandate, and the receipt names both', async () => {
    const { url, expected } = await push(config, 'helped-2', helper);
    const asks = await browser.open(url);
    const back = await browser.submit(asks, 'choix', { choix: 'recuperer' }, BACK);
    const tokens = await oauth.authorizationCodeGrant(config, back.url, expected, { resource: CNAF });
    const file = await receiptOf(addresses, browser, tokens.grant_id);
    const both = { acted_by: 'Pierre MERCIER', mandated_by: 'Angela DUBOIS' };
    return { member: 'lyon', tokens, file, says: { capacity: 'helper', representation: both } };
  });
}

/** An identity sealed to the key that the authority publishes for it. */
async function sealed(config, subject) {
  const { keys } = await (await fetch(config.serverMetadata().jwks_uri)).json();
  const key = keys.find(({ use }) => use === 'enc');
  const text = JSON.stringify(subject).padEnd(PADDED);
  return new jose.CompactEncrypt(new TextEncoder().encode(text))
    .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM', kid: key.kid })
    .encrypt(await jose.importJWK(key, 'ECDH-ES'));
}

/** The commune's own request for the family quotient. */
const quotient = (dossier, more) => {
  const [element] = details(dossier);
  return JSON.stringify([{ ...element, habilitation: 'DEMO-clamart-qf', ...more }]);
};

async function byOfficer(addresses, config) {
  const ask = async (dossier, more = {}) =>
    push(config, dossier, {
      redirect_uri: CLAMART_BACK,
      way: 'agent',
      motive: 'guichet',
      authorization_details: quotient(dossier),
      subject_check: '',
      subject_jwe: await sealed(config, { person: ANGELA }),
      ...more,
    });
  await check('an identity that is not whole, or not sealed, is refused', async () => {
    const { birthplace, ...partial } = ANGELA;
    for (const subject_jwe of [await sealed(config, { person: partial }), JSON.stringify(ANGELA)]) {
      await refused(ask('agent-1', { subject_jwe }), 'invalid_request');
    }
  });
  const tokens = await check('an officer asks with a motive, logged in through ProConnect', async () => {
    const { url, expected } = await ask('agent-2');
    const browser = new Browser();
    const choice = await browser.open(url);
    const link = choice.link('/pro/connexion');
    const provider = link ? await browser.open(new URL(link, choice.url)) : choice;
    const page = await persona('camille')(browser, provider);
    const back = await browser.submit(page, 'choix', { choix: 'recuperer' }, CLAMART_BACK);
    return oauth.authorizationCodeGrant(config, back.url, expected, { resource: CNAF });
  });
  return check('the person finds it, with a receipt that says that they were not asked', async () => {
    const { asked_without_person: asked, file } = await theirs(addresses, tokens);
    assert.deepEqual([asked.decided_by, asked.party_id], ['officer', CLAMART]);
    assert.ok(asked.shown_to_officer.text.includes(asked.motive));
    return { member: 'clamart', tokens, file, says: { capacity: 'agent' } };
  });
}

async function withNobody(addresses, config) {
  const ask = async (dossier, more) =>
    oauth.buildAuthorizationUrlWithPAR(config, {
      way: 'automatic',
      authorization_details: quotient(dossier, {
        demarche: 'transports-information',
        habilitation: 'DEMO-clamart-information',
        legal_basis: 'CRPA-L114-8-II',
        units: [{ unit: 'valeur', need: 'required' }],
        data_life_days: 180,
        ...more,
      }),
      subject_jwe: await sealed(config, { person: ANGELA }),
    });
  await check('with nobody present, a ground that wants somebody there is refused', () =>
    refused(ask('nobody-1', { legal_basis: 'CRPA-L114-8-I' }), 'invalid_authorization_details'));
  const tokens = await check('a request_uri with nobody present is worth one token, once', async () => {
    const page = await new Browser().open(await ask('nobody-2'));
    assert.equal(page.status, 400, 'no browser opens it');
    const request_uri = (await ask('nobody-3')).searchParams.get('request_uri');
    const tokens = await oauth.genericGrantRequest(config, AUTOMATIC, { request_uri });
    await refused(oauth.genericGrantRequest(config, AUTOMATIC, { request_uri }), 'invalid_request_uri');
    assert.ok(elementAt(tokens, CNAF).gh);
    return tokens;
  });
  return check('the person finds that too, at their first login', async () => {
    const { asked_without_person: asked, file } = await theirs(addresses, tokens);
    assert.deepEqual(asked, { decided_by: 'nobody', party_id: CLAMART });
    return { member: 'clamart', tokens, file, says: { capacity: 'automatic' } };
  });
}

/** The receipt that Angela takes home of a grant that she was not asked for. */
async function theirs(addresses, { grant_id: id }) {
  const browser = new Browser();
  const choice = await browser.open(`${addresses.portal}/connexion`);
  await angela(browser, await toProvider(browser, choice));
  const file = await receiptOf(addresses, browser, id);
  return { ...file.receipt, file };
}
