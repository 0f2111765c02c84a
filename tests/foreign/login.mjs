// The portal as a relying party of npm `oidc-provider`, which stands in for FranceConnect, FranceConnect+ and ProConnect.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as oauth from 'openid-client';
import { Browser } from './browser.mjs';
import { check } from './check.mjs';
import { BACK, CNAF, DGFIP, client, elementAt, push, taxIncome } from './consumer.mjs';
import { raise } from './demo.mjs';
import { incomes } from './fetch.mjs';
import { FRANCECONNECT, FRANCECONNECT_PLUS, PROCONNECT } from './kinds.mjs';
import { arrive, grant } from './person.mjs';
import { reserve } from './provider.mjs';

const LEVEL = { erreur: 'niveau' };
const UNAVAILABLE = { erreur: 'indisponible' };
/** What the portal must make of each lie: where the browser ends, and with which word or status. */
const REFUSALS = [
  ['acr', 'a level that is not the provider\'s to assert', LEVEL],
  ['answer-iss', 'an answer that names another issuer (RFC 9207)', { status: 400 }],
  ['token-iss', 'an ID token of another issuer', UNAVAILABLE],
  ['nonce', "an ID token with another login's nonce", UNAVAILABLE],
  ['audience', 'an ID token for another client', UNAVAILABLE],
  ['key', 'an ID token signed by a key that the provider does not publish', UNAVAILABLE],
  ['none', 'an ID token that nobody signed', UNAVAILABLE],
  ['userinfo-iss', 'userinfo of another issuer', UNAVAILABLE],
  ['userinfo-sub', 'userinfo of another person (OpenID Connect Core, 5.3.2)', UNAVAILABLE],
];
/** Where answers are signed alone. */
const SIGNED = [['plain', 'answers that are encrypted where that was not agreed', UNAVAILABLE]];
/** Where they are encrypted. */
const ENCRYPTED = [
  ['plain', 'answers that are merely signed', UNAVAILABLE],
  ['userinfo-plain', 'userinfo that is merely signed', UNAVAILABLE],
  ['stranger', "answers encrypted to another's key", UNAVAILABLE],
  ['alg', 'another way to agree on the key than ECDH-ES', UNAVAILABLE],
  ['enc', 'another cipher than A256GCM', UNAVAILABLE],
  ['twice', 'answers encrypted twice', UNAVAILABLE],
];
const OFFICERS = [['siret', 'a SIRET without its check digit', UNAVAILABLE]];

/** Logs in with the provider telling `lie`. */
const telling = (lie) => (browser, page) => browser.submit(page, 'persona', { persona: 'angela', lie });
const honest = telling('nothing');

/** Every check, in a world of its own in the folder `dir`. */
export async function logins(dir) {
  const kinds = [FRANCECONNECT, FRANCECONNECT_PLUS, PROCONNECT];
  const providers = await Promise.all(kinds.map(reserve));
  const demo = await raise(dir, providers.map(({ issuer }) => issuer));
  const { addresses } = demo;
  for (const [n, kind] of kinds.entries()) {
    const secret = await readFile(join(addresses.dir, 'authority', `${kind.name}.secret`), 'utf8');
    await providers[n].serve({
      id: 'unefois',
      secret: secret.trim(),
      redirectUri: `${addresses.portal}/${kind.name}/retour`,
      home: `${addresses.portal}/`,
      encryptTo: kind.encryption && (await publishedKey(addresses, kind)),
    });
  }
  const config = await client(addresses);
  await franceConnect(addresses, config, providers[0].issuer);
  await franceConnectPlus(addresses, config, providers[1].issuer);
  await proConnect(addresses, providers[2].issuer);
  await demo.stop();
  providers.forEach(({ close }) => close());
}

/** The one key that the portal wants answers encrypted to. */
async function publishedKey({ portal }, { name }) {
  return check(`the portal publishes the key that ${name} encrypts to`, async () => {
    const { keys } = await (await fetch(`${portal}/${name}/jwks`)).json();
    assert.deepEqual(keys.map(({ kty, crv, use, alg }) => [kty, crv, use, alg]), [['EC', 'P-256', 'enc', 'ECDH-ES']]);
    return keys[0];
  });
}

async function franceConnect(addresses, config, issuer) {
  for (const [lie, what, expected] of [...REFUSALS, ...SIGNED]) {
    await check(`of FranceConnect, the portal refuses ${what}`, async () => {
      const { url } = await push(config, `fc-${lie}`);
      await refuses(await arrive(url, telling(lie)), expected);
    });
  }
  await check('a login at oidc-provider as FranceConnect leads to a grant', async () => {
    const { url, expected } = await push(config, 'fc-1');
    const tokens = await oauth.authorizationCodeGrant(config, await grant(url, honest), expected);
    assert.ok(elementAt(tokens, CNAF).gh);
  });
  await check('so does one whose answers are signed again, unchanged', async () => {
    const { url } = await push(config, 'fc-2');
    const { browser, page } = await arrive(url, telling('signed-again'));
    assert.ok(page.form('choix'));
    await leaves(browser, addresses, '/autorisations', issuer);
  });
}

async function franceConnectPlus(addresses, config, issuer) {
  const ask = (dossier) => push(config, dossier, { authorization_details: JSON.stringify(taxIncome(dossier)) });
  for (const [lie, what, expected] of [...REFUSALS, ...ENCRYPTED]) {
    await check(`of FranceConnect+, the portal refuses ${what}`, async () => {
      const { url } = await ask(`fcp-${lie}`);
      await refuses(await arrive(url, telling(lie)), expected);
    });
  }
  await check('a login whose answers are signed and encrypted again, unchanged, is taken', async () => {
    const { url } = await ask('fcp-1');
    const { page } = await arrive(url, telling('signed-again'));
    assert.ok(page.form('choix'));
  });
  const held = await check('who is logged in at FranceConnect logs in again at FranceConnect+ for more', async () => {
    const { browser } = await arrive((await push(config, 'fcp-2')).url, honest);
    const { url, expected } = await ask('fcp-2');
    const told = await browser.open(url);
    assert.equal(told.url.pathname, '/connexion');
    assert.ok(told.body.includes('Une connexion plus sûre est nécessaire'));
    assert.equal(told.link('/fc/connexion'), undefined, 'FranceConnect is not enough');
    const provider = await browser.open(new URL(told.link('/fcp/connexion'), told.url));
    const page = await honest(browser, provider);
    const back = await browser.submit(page, 'choix', { choix: 'recuperer' }, BACK);
    const tokens = await oauth.authorizationCodeGrant(config, back.url, expected);
    const element = elementAt(tokens, DGFIP);
    await leaves(browser, addresses, '/autorisations', issuer);
    return { access_token: tokens.access_token, pivot_jwe: tokens.pivot_jwe, element };
  });
  await incomes(addresses, held, issuer);
}

async function proConnect({ portal }, issuer) {
  const enter = async (logIn) => {
    const browser = new Browser();
    const choice = await browser.open(`${portal}/connexion`);
    const provider = await browser.open(new URL(choice.link('/pro/connexion'), choice.url));
    return { browser, page: await logIn(browser, provider) };
  };
  const isOfficer = ({ body }) => body.includes('Vous êtes connecté·e comme agent');
  for (const [lie, what, expected] of [...REFUSALS, ...SIGNED, ...OFFICERS]) {
    await check(`of ProConnect, the portal refuses ${what}`, async () => {
      const came = await enter(telling(lie));
      await refuses(came, expected);
      assert.ok(!isOfficer(await came.browser.open(portal)));
    });
  }
  await check('an officer logs in at oidc-provider as ProConnect, with PKCE, and is no person', async () => {
    const { browser, page } = await enter(honest);
    assert.ok(isOfficer(page) && page.body.includes('21920023500014'), page.body);
    const told = await browser.open(new URL('/autorisations', page.url));
    assert.equal(told.url.pathname, '/connexion');
    assert.ok(isOfficer(told));
    await leaves(browser, { portal }, '/', issuer);
  });
}

/** Logs out on the page at `path`: the session ends at the portal, then at `issuer`, which takes the ID token as a hint. */
async function leaves(browser, { portal }, path, issuer) {
  const out = await browser.submit(await browser.open(new URL(path, portal)), 'csrf', {});
  const asks = await browser.open(out.link(`${issuer}/`));
  assert.equal(asks.status, 200, asks.body);
  const back = await browser.submit(asks, 'xsrf', { logout: 'yes' });
  assert.equal(`${back.url.origin}${back.url.pathname}`, `${portal}/`);
  assert.ok(back.link('/connexion'), 'nobody is logged in');
}

/** The browser ended as `expected`, and nobody is logged in. */
async function refuses({ browser, page }, { erreur, status }) {
  if (status) {
    assert.equal(page.status, status, page.url.href);
  } else {
    assert.equal(page.url.pathname, '/connexion');
    assert.equal(page.url.searchParams.get('erreur'), erreur);
  }
  const grants = await browser.open(new URL('/autorisations', page.url));
  assert.equal(grants.url.pathname, '/connexion', 'nobody is logged in');
}
