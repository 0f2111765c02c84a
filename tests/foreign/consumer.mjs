// « lyon » and « clamart », consumers made of openid-client: their certificates, their requests.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as oauth from 'openid-client';
import { Agent, fetch } from 'undici';

export const LYON = 'urn:unefois:participant:21690123100011';
export const CLAMART = 'urn:unefois:participant:21920023500014';
export const CNAF = 'urn:unefois:participant:18003506500010';
export const MESR = 'urn:unefois:participant:11004401300016';
export const DGFIP = 'urn:unefois:participant:13000495500014';
/** Where the consumer's browser comes back to, as the directory has it. */
export const BACK = 'http://127.0.0.1:9/retour';
export const CLAMART_BACK = 'http://127.0.0.1:9/dossiers/retour';

const DEADLINE_MS = 60_000;

/** A `fetch` over TLS that shows the certificate of `member`, or none. */
export async function mutualTls(dir, member) {
  const file = (...path) => readFile(join(dir, ...path));
  const own = member ? { cert: await file(member, 'tls.pem'), key: await file(member, 'tls.key') } : {};
  const dispatcher = new Agent({ connect: { ca: await file('ca', 'ca.pem'), ...own } });
  return (url, options) => fetch(url, { signal: AbortSignal.timeout(DEADLINE_MS), ...options, dispatcher });
}

/** openid-client as `lyon`, or another client, with the certificate of `member`. */
export async function client({ portal, dir }, member = 'lyon', id = LYON) {
  // The portal is plain HTTP on loopback; the authority's own endpoints are mutual TLS.
  return oauth.discovery(new URL(portal), id, { use_mtls_endpoint_aliases: true }, oauth.TlsClientAuth(), {
    algorithm: 'oauth2',
    execute: [oauth.allowInsecureRequests],
    [oauth.customFetch]: await mutualTls(dir, member),
  });
}

const element = (datatype, operator, habilitation, units, dossier) => ({
  type: 'urn:unefois:justificatif:1',
  datatypes: [datatype],
  units: Object.entries(units).map(([unit, need]) => ({ unit, need })),
  locations: [operator],
  actions: ['fetch'],
  demarche: 'cantine',
  habilitation,
  dossier_ref: dossier,
  legal_basis: 'CRPA-L114-8-I',
  mode: { kind: 'once' },
  use: 'store',
  data_life_days: 366,
  subject: { kind: 'self' },
});

/** What is asked for: a family quotient and a student's enrolment, with an optional unit. */
export const details = (dossier) => [
  element('cnaf/quotient-familial@1', CNAF, 'DEMO-lyon-qf', { valeur: 'required', composition: 'optional' }, dossier),
  element('mesr/statut-etudiant@1', MESR, 'DEMO-lyon-etudiant', { inscription: 'required' }, dossier),
];

/** The reference tax income, whose datatype needs eidas2. */
export const taxIncome = (dossier) => [
  element('dgfip/revenu-fiscal-de-reference@1', DGFIP, 'DEMO-lyon-rfr', { revenu: 'required', foyer: 'optional' }, dossier),
];

/** Whose file it is, as an HMAC of what the consumer's own file holds. */
export function subjectCheck(family = 'DUBOIS', given = 'ANGELA', birthdate = '1962-08-24') {
  const salt = randomBytes(32);
  const hmac = createHmac('sha256', salt).update([family, given, birthdate].join('\x1f')).digest();
  return JSON.stringify({ salt: salt.toString('base64url'), hmac: hmac.toString('base64url') });
}

/** Pushes a request for `dossier`; answers where to send the person, and what its answer must match. */
export async function push(config, dossier, parameters = {}) {
  const verifier = oauth.randomPKCECodeVerifier();
  const state = oauth.randomState();
  const url = await oauth.buildAuthorizationUrlWithPAR(config, {
    redirect_uri: BACK,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    authorization_details: JSON.stringify(details(dossier)),
    subject_check: subjectCheck(),
    ...parameters,
  });
  return { url, expected: { pkceCodeVerifier: verifier, expectedState: state } };
}

/** The element of a token answer at `operator`. */
export function elementAt(tokens, operator) {
  const element = tokens.authorization_details.find((element) => element.locations[0] === operator);
  assert.ok(element, `nothing was granted at ${operator}`);
  return element;
}
