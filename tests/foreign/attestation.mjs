// npm `@sd-jwt/sd-jwt-vc` verifies the attestations that the Python consumer fetched.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as jose from 'jose';
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc';
import { check } from './check.mjs';
import { CNAF, LYON, MESR } from './consumer.mjs';

/** The directory, if the key of thumbprint `pin` signed it. */
async function directory({ dir, pin }) {
  const jws = JSON.parse(await readFile(join(dir, 'auditor', 'directory.jws'), 'utf8'));
  assert.equal(await jose.calculateJwkThumbprint(jws.header.jwk), pin);
  const { payload } = await jose.flattenedVerify(jws, await jose.importJWK(jws.header.jwk, 'ES256'));
  return JSON.parse(new TextDecoder().decode(payload));
}

/** A verifier of what `operator` issues, by its seal keys in `document`. */
async function verifier(document, operator) {
  const row = document.participants.find(({ id }) => id === operator);
  const keys = jose.createLocalJWKSet({ keys: row.seal_keys });
  return new SDJwtVcInstance({
    hashAlg: 'sha-256',
    hasher: (data, algorithm) => createHash(algorithm.replace('-', '')).update(Buffer.from(data)).digest(),
    verifier: async (signed, signature) => {
      const options = { algorithms: ['ES256'] };
      return jose.compactVerify(`${signed}.${signature}`, keys, options).then(() => true, () => false);
    },
  });
}

/** One character of `text` at `index` replaced by another of its alphabet. */
const changed = (text, index) => text.slice(0, index) + (text[index] === 'A' ? 'B' : 'A') + text.slice(index + 1);

/** Every check on `texts`, the attestation of each operator. */
export async function attestations(addresses, texts) {
  const document = await directory(addresses);
  for (const [operator, unit] of [[CNAF, 'valeur'], [MESR, 'inscription']]) {
    const instance = await verifier(document, operator);
    const text = texts[operator];
    await check(`@sd-jwt/sd-jwt-vc verifies ${unit}`, async () => {
      const { payload, header } = await instance.verify(text);
      assert.equal(header.typ, 'dc+sd-jwt');
      assert.equal(payload.iss, operator);
      assert.equal(payload.aud, LYON);
      assert.ok(payload[unit], 'the unit is disclosed');
      assert.equal(payload._sd, undefined);
    });
  }
  const instance = await verifier(document, CNAF);
  const [jwt, disclosure] = texts[CNAF].split('~');
  const [, claims, signature] = jwt.split('.');
  await check('it refuses an attestation with one character of its claims changed', () =>
    assert.rejects(instance.verify(texts[CNAF].replace(claims, changed(claims, claims.length >> 1)))));
  await check('it refuses an attestation with one character of its signature changed', () =>
    assert.rejects(instance.verify(texts[CNAF].replace(signature, changed(signature, 7)))));
  await check('it refuses an attestation with one character of its disclosure changed', () =>
    assert.rejects(instance.verify(texts[CNAF].replace(disclosure, changed(disclosure, disclosure.length - 9)))));
  await check("it refuses one producer's attestation under another's keys", () =>
    assert.rejects(instance.verify(texts[MESR])));
}
