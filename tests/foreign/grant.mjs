// npm `openid-client` asks for a grant as « lyon »: RFC 8414, 8705, 9126, 9396, 7636, 9207, 6749 and 7009.

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as jose from 'jose';
import * as oauth from 'openid-client';
import { check, refused } from './check.mjs';
import { BACK, CNAF, LYON, MESR, client, details, elementAt, mutualTls, push, subjectCheck } from './consumer.mjs';
import { Browser } from './browser.mjs';
import { arrive, choose, decline, grant } from './person.mjs';

/**
 * Every check; answers what the consumer fetches with: for each operator a token, its sealed pivot and its element, as
 * `ended` one whose grant was given back, and as `receipts` those that the person took home.
 */
export async function grants(addresses) {
  const config = await check('openid-client reads the metadata of the authorization server', async () => {
    const config = await client(addresses);
    const metadata = config.serverMetadata();
    assert.equal(metadata.issuer, addresses.portal);
    assert.equal(metadata.require_pushed_authorization_requests, true);
    assert.equal(metadata.tls_client_certificate_bound_access_tokens, true);
    assert.ok(metadata.mtls_endpoint_aliases.token_endpoint.startsWith(addresses.authority));
    return config;
  });
  await pushes(addresses, config);
  await codes(addresses, config);
  const ended = await ends(config);
  const managed = await manages(addresses, config);
  const { receipt, ...held } = await tokens(addresses, config);
  return { ...held, ended, receipts: [managed, receipt] };
}

async function pushes(addresses, config) {
  await check('a request pushed without a client certificate gets no answer', async () => {
    const anonymous = await mutualTls(addresses.dir);
    const url = config.serverMetadata().pushed_authorization_request_endpoint;
    await assert.rejects(anonymous(url, { method: 'POST', body: new URLSearchParams({ client_id: LYON }) }));
  });
  await check("a request pushed with another participant's certificate is refused", async () => {
    await refused(push(await client(addresses, 'clamart'), 'refused-1'), 'invalid_client');
  });
  await check('a redirect_uri that the directory does not list is refused', () =>
    refused(push(config, 'refused-2', { redirect_uri: `${BACK}/` }), 'invalid_request'));
  await check('PKCE other than S256 is refused', () =>
    refused(push(config, 'refused-3', { code_challenge_method: 'plain' }), 'invalid_request'));
  await check('a unit outside the habilitation is refused (RFC 9396, 5)', async () => {
    const asked = details('refused-4');
    asked[0].units.push({ unit: 'adresse', need: 'required' });
    await refused(
      push(config, 'refused-4', { authorization_details: JSON.stringify(asked) }),
      'invalid_authorization_details',
    );
  });
  await check('an unknown member of authorization_details is refused', async () => {
    const asked = details('refused-5').map((element) => ({ ...element, extra: true }));
    await refused(
      push(config, 'refused-5', { authorization_details: JSON.stringify(asked) }),
      'invalid_authorization_details',
    );
  });
  await check('a request_uri works once', async () => {
    const { url } = await push(config, 'refused-6');
    assert.deepEqual([...url.searchParams.keys()].sort(), ['client_id', 'request_uri']);
    const first = await new Browser().open(url);
    assert.equal(first.status, 200);
    const second = await new Browser().open(url);
    assert.equal(second.status, 400, `the second use ended at ${second.url.pathname}`);
  });
  await check("a request_uri with another client's name is refused", async () => {
    const { url } = await push(config, 'refused-7');
    url.searchParams.set('client_id', CNAF);
    const page = await new Browser().open(url);
    assert.equal(page.status, 400);
  });
}

async function codes(addresses, config) {
  await check('a person who declines comes back with access_denied, state and iss', async () => {
    const { url, expected } = await push(config, 'declined-1');
    const back = await decline(url);
    assert.equal(back.searchParams.get('iss'), addresses.portal);
    assert.equal(back.searchParams.get('state'), expected.expectedState);
    await refused(oauth.authorizationCodeGrant(config, back, expected), 'access_denied');
  });
  await check("somebody else's file is not put before a person, and leads back with access_denied", async () => {
    const other = subjectCheck('MERCIER', 'PIERRE', '1969-03-17');
    const { url, expected } = await push(config, 'mismatch-1', { subject_check: other });
    const { page } = await arrive(url);
    assert.ok(!page.body.includes('name="choix"'));
    const back = new URL(page.link(BACK));
    await refused(oauth.authorizationCodeGrant(config, back, expected), 'access_denied');
  });
  await check('a wrong PKCE verifier is refused, and the code is spent', async () => {
    const { url, expected } = await push(config, 'pkce-1');
    const back = await grant(url);
    const wrong = { ...expected, pkceCodeVerifier: oauth.randomPKCECodeVerifier() };
    await refused(oauth.authorizationCodeGrant(config, back, wrong), 'invalid_grant');
    await refused(oauth.authorizationCodeGrant(config, back, expected), 'invalid_grant');
  });
  await check("a code shown with another client's certificate is refused", async () => {
    const { url, expected } = await push(config, 'stolen-1');
    const back = await grant(url);
    const thief = await client(addresses, 'clamart');
    await refused(oauth.authorizationCodeGrant(thief, back, expected), 'invalid_client');
  });
  await check('a code used again is refused and ends its grant (RFC 6749, 4.1.2)', async () => {
    const { url, expected } = await push(config, 'again-1');
    const back = await grant(url);
    const tokens = await oauth.authorizationCodeGrant(config, back, expected);
    await refused(oauth.authorizationCodeGrant(config, back, expected), 'invalid_grant');
    await refused(oauth.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant');
  });
}

const held = ({ access_token, pivot_jwe }, element) => ({ access_token, pivot_jwe, element });

async function ends(config) {
  return check('a refresh token given back ends the grant (RFC 7009)', async () => {
    const { url, expected } = await push(config, 'revoked-1');
    const tokens = await oauth.authorizationCodeGrant(config, await grant(url), expected, { resource: CNAF });
    await oauth.tokenRevocation(config, tokens.refresh_token);
    await refused(oauth.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant');
    await oauth.tokenRevocation(config, 'unknown');
    // RFC 7009, 2.2.1: an access token ends by itself, and is not taken back alone.
    await refused(oauth.tokenRevocation(config, tokens.access_token), 'unsupported_token_type');
    return held(tokens, elementAt(tokens, CNAF));
  });
}

/** The receipt that the person takes home, as a file of JSON. */
export async function receiptOf({ portal }, browser, grantId) {
  const { status, body } = await browser.open(new URL(`/autorisations/${grantId}/recu.json`, portal));
  assert.equal(status, 200);
  return JSON.parse(body);
}

/** Grant Management for OAuth: `query` and `revoke`; answers the receipt of the grant, which was given back. */
async function manages(addresses, config) {
  const metadata = config.serverMetadata();
  const { url, expected } = await push(config, 'managed-1');
  const { back, browser } = await choose(url, 'recuperer');
  const tokens = await oauth.authorizationCodeGrant(config, back, expected);
  const grantUrl = `${metadata.grant_management_endpoint}/${tokens.grant_id}`;
  const lyon = await mutualTls(addresses.dir, 'lyon');
  await check('the metadata names what may be done with a grant', async () => {
    assert.deepEqual(metadata.grant_management_actions_supported, ['query', 'revoke']);
    assert.equal(metadata.grant_management_action_required, false);
  });
  await check('a request to merge into a grant is refused', () =>
    refused(push(config, 'managed-2', { grant_id: tokens.grant_id }), 'invalid_request'));
  await check('a grant answers what stands of it, to its client alone', async () => {
    const answer = await lyon(grantUrl);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('cache-control'), 'no-store');
    assert.deepEqual((await answer.json()).authorization_details, tokens.authorization_details);
    const clamart = await mutualTls(addresses.dir, 'clamart');
    for (const method of ['GET', 'DELETE']) assert.equal((await clamart(grantUrl, { method })).status, 404);
    assert.equal((await lyon(`${metadata.grant_management_endpoint}/unknown`)).status, 404);
  });
  await check('a grant given back by its address ends', async () => {
    assert.equal((await lyon(grantUrl, { method: 'DELETE' })).status, 204);
    await refused(oauth.refreshTokenGrant(config, tokens.refresh_token), 'invalid_grant');
    assert.deepEqual((await (await lyon(grantUrl)).json()).authorization_details, []);
  });
  return receiptOf(addresses, browser, tokens.grant_id);
}

async function tokens(addresses, config) {
  const dossier = '2026-0412';
  const { url, expected } = await push(config, dossier);
  const { back, browser } = await choose(url, 'recuperer');
  const first = await check('openid-client turns the code into a token, with what was granted', async () => {
    const tokens = await oauth.authorizationCodeGrant(config, back, expected, { resource: CNAF });
    assert.equal(tokens.token_type, 'bearer');
    const granted = tokens.authorization_details.map((element) => element.units.map((unit) => unit.unit));
    assert.deepEqual(granted, [['valeur'], ['inscription']], 'an optional unit is granted only if it is ticked');
    assert.ok(tokens.authorization_details.every((element) => element.dossier_ref === dossier && element.gh));
    return tokens;
  });
  const [qf, student] = [elementAt(first, CNAF), elementAt(first, MESR)];
  const refresh = (resource, element) =>
    oauth.refreshTokenGrant(config, first.refresh_token, { resource, gh: element.gh });
  const second = await check('the refresh token gives a token for the other handle (RFC 8707)', async () => {
    const tokens = await refresh(MESR, student);
    assert.deepEqual(tokens.authorization_details, [student]);
    return tokens;
  });
  await check('a resource that does not hold the handle is refused', () =>
    refused(refresh(MESR, qf), 'invalid_target'));
  await check('jose verifies both access tokens: the certificate, one producer, nobody named', async () => {
    await accessToken(addresses, config, CNAF, first.access_token, qf);
    await accessToken(addresses, config, MESR, second.access_token, student);
  });
  const receipt = await receiptOf(addresses, browser, first.grant_id);
  return { [CNAF]: held(first, qf), [MESR]: held(second, student), receipt };
}

async function accessToken({ dir, portal }, config, operator, token, element) {
  const keys = await (await fetch(config.serverMetadata().jwks_uri)).json();
  const { payload, protectedHeader } = await jose.jwtVerify(token, jose.createLocalJWKSet(keys), {
    issuer: portal,
    audience: operator,
    typ: 'at+jwt',
    algorithms: ['ES256'],
    requiredClaims: ['iat', 'nbf', 'exp', 'jti', 'sub', 'client_id', 'acr', 'auth_time'],
  });
  const key = keys.keys.find(({ kid }) => kid === protectedHeader.kid);
  assert.equal(await jose.calculateJwkThumbprint(key), protectedHeader.kid);
  const certificate = new X509Certificate(await readFile(join(dir, 'lyon', 'tls.pem')));
  const thumbprint = Buffer.from(certificate.fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
  assert.deepEqual(payload.cnf, { 'x5t#S256': thumbprint });
  assert.deepEqual(payload.authorization_details, [element]);
  assert.equal(payload.gh, element.gh);
  assert.equal(payload.client_id, LYON);
  assert.ok(payload.exp - payload.iat <= 60);
  assert.doesNotMatch(JSON.stringify(payload), /dubois|angela|1962/i);
}
