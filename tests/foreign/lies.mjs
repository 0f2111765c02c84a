// What a provider that lies, or that others speak for, could answer: signed and encrypted anew with its own keys, or not.

import * as jose from 'jose';

const OTHER = 'https://fournisseur.example';
/** The claims that a lie changes. */
const ID_TOKEN = { 'token-iss': { iss: OTHER }, nonce: { nonce: 'x'.repeat(64) }, audience: { aud: 'somebody-else' } };
const USERINFO = {
  'userinfo-iss': { iss: OTHER },
  'userinfo-sub': { sub: 'somebody else' },
  siret: { siret: '21920023500015' },
};
/** Those that change how both are sent. */
const SENDING = ['signed-again', 'key', 'plain', 'stranger', 'alg', 'enc', 'twice', 'none'];

/** A signing key of this name. */
export async function signingKey(kid) {
  const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true });
  return { ...(await jose.exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid };
}

async function signed(claims, key, told) {
  if (told === 'none') return new jose.UnsecuredJWT(claims).encode();
  const signer = told === 'key' ? await signingKey(key.kid) : key;
  const jwt = new jose.SignJWT(claims).setProtectedHeader({ alg: 'ES256', typ: 'JWT', kid: key.kid });
  return jwt.sign(await jose.importJWK(signer));
}

async function encrypted(text, { alg, enc }, jwk, told) {
  const stranger = told === 'stranger' ? (await jose.generateKeyPair('ECDH-ES')).publicKey : undefined;
  const header = {
    alg: told === 'alg' ? 'ECDH-ES+A256KW' : alg,
    enc: told === 'enc' ? 'A128GCM' : enc,
    cty: 'JWT',
    kid: jwk.kid,
  };
  const key = stranger ?? (await jose.importJWK(jwk, header.alg));
  return new jose.CompactEncrypt(new TextEncoder().encode(text)).setProtectedHeader(header).encrypt(key);
}

/** Sends `claims` as the lie `told` has it. */
async function sent(claims, { kind, key, encryptTo }, told) {
  const jwt = await signed(claims, key, told);
  // « plain »: merely signed where encryption was agreed, encrypted where it was not.
  const encrypts = Boolean(kind.encryption) !== (told === 'plain');
  if (!encrypts) return jwt;
  const way = kind.encryption ?? { alg: 'ECDH-ES', enc: 'A256GCM' };
  const to = encryptTo ?? (await jose.exportJWK((await jose.generateKeyPair('ECDH-ES')).publicKey));
  const once = await encrypted(jwt, way, to, told);
  return told === 'twice' ? encrypted(once, way, to, told) : once;
}

/**
 * The middleware that answers what `state.lie` says in place of the truth. `world` is { kind, issuer, client, sub, key,
 * encryptTo }, and `state.nonce` that of the login under way.
 */
export function lies(state, world) {
  const { kind, issuer, client } = world;
  const claims = (more) => {
    const now = Math.floor(Date.now() / 1000);
    return { iss: issuer, aud: client, sub: world.sub, iat: now, exp: now + 60, ...more };
  };
  return async (ctx, next) => {
    await next();
    const told = state.lie;
    const location = ctx.response.get('location');
    if (told === 'answer-iss' && location.includes('code=')) {
      const url = new URL(location);
      url.searchParams.set('iss', OTHER);
      ctx.set('location', url.href);
    }
    const resends = SENDING.includes(told);
    if (ctx.path === '/api/v2/token' && ctx.body?.id_token && (resends || told in ID_TOKEN)) {
      const token = claims({ nonce: state.nonce, acr: kind.acr, auth_time: Math.floor(Date.now() / 1000) });
      ctx.body = { ...ctx.body, id_token: await sent({ ...token, ...ID_TOKEN[told] }, world, told) };
    }
    if (ctx.path === '/api/v2/userinfo' && (resends || told in USERINFO || told === 'userinfo-plain')) {
      const info = claims({ ...kind.claims, ...USERINFO[told] });
      ctx.body = await sent(info, world, told === 'userinfo-plain' ? 'plain' : told);
    }
  };
}
