// The portal as a relying party of npm `oidc-provider`, which stands in for FranceConnect.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as oauth from 'openid-client';
import { check } from './check.mjs';
import { CNAF, client, elementAt, push } from './consumer.mjs';
import { raise } from './demo.mjs';
import { arrive, grant } from './person.mjs';
import { reserve } from './provider.mjs';

/** What the portal must make of each lie: where the browser ends, and with which word or status. */
const REFUSALS = [
  ['acr', 'a level that nobody asked for and that the provider may not assert', { erreur: 'niveau' }],
  ['answer-iss', 'an answer that names another issuer (RFC 9207)', { status: 400 }],
  ['token-iss', 'an ID token of another issuer', { erreur: 'indisponible' }],
  ['nonce', "an ID token with another login's nonce", { erreur: 'indisponible' }],
  ['key', 'an ID token signed by a key that the provider does not publish', { erreur: 'indisponible' }],
  ['userinfo-iss', 'userinfo of another issuer', { erreur: 'indisponible' }],
  ['userinfo-sub', 'userinfo of another person (OpenID Connect Core, 5.3.2)', { erreur: 'indisponible' }],
];

/** Logs in with the provider telling `lie`. */
const telling = (lie) => (browser, page) => browser.submit(page, 'persona', { persona: 'angela', lie });

/** Every check, in a world of its own in the folder `dir`. */
export async function logins(dir) {
  const provider = await reserve();
  const demo = await raise(dir, provider.issuer);
  const { addresses } = demo;
  await provider.serve({
    id: 'unefois',
    secret: (await readFile(join(addresses.dir, 'authority', 'fc.secret'), 'utf8')).trim(),
    redirectUri: `${addresses.portal}/fc/retour`,
  });
  const config = await client(addresses);
  for (const [lie, what, expected] of REFUSALS) {
    await check(`the portal refuses ${what}`, () => refuses(config, lie, expected));
  }
  await check('a login at oidc-provider leads to a grant', async () => {
    const { url, expected } = await push(config, 'fc-1');
    const tokens = await oauth.authorizationCodeGrant(config, await grant(url, telling('none')), expected);
    assert.ok(elementAt(tokens, CNAF).gh);
  });
  await check('so does one whose answers are signed again, unchanged', async () => {
    const { url } = await push(config, 'fc-2');
    const { page } = await arrive(url, telling('signed-again'));
    assert.ok(page.form('choix'));
  });
  await demo.stop();
  provider.close();
}

async function refuses(config, lie, { erreur, status }) {
  const { url } = await push(config, `fc-${lie}`);
  const { browser, page } = await arrive(url, telling(lie));
  if (status) {
    assert.equal(page.status, status, page.url.href);
  } else {
    assert.equal(page.url.pathname, '/connexion');
    assert.equal(page.url.searchParams.get('erreur'), erreur);
  }
  const grants = await browser.open(new URL('/autorisations', page.url));
  assert.equal(grants.url.pathname, '/connexion', 'nobody is logged in');
}
