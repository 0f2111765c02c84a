// npm `oidc-provider` as FranceConnect: its parameters, levels, scopes, pairwise subjects and signed userinfo.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import * as jose from 'jose';
import Provider from 'oidc-provider';

/** The parameters that FranceConnect's `/authorize` takes; it refuses any other. */
const PARAMETERS = new Set([
  'client_id', 'acr_values', 'claims', 'response_type', 'nonce', 'state', 'redirect_uri', 'scope', 'prompt',
  'idp_hint', 'ui_locales',
]);
const SCOPES = ['family_name', 'given_name', 'preferred_username', 'birthdate', 'gender', 'birthplace', 'birthcountry'];
/** A public test identity of FranceConnect's integration platform. */
const ANGELA = {
  family_name: 'DUBOIS',
  given_name: 'Angela Claire Louise',
  preferred_username: '',
  birthdate: '1962-08-24',
  gender: 'female',
  birthplace: '75107',
  birthcountry: '99100',
};

/** A port on loopback that answers once `serve` is called; its issuer is known before its only client is. */
export async function reserve() {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { issuer, close, serve: async (client) => server.on('request', await requests(issuer, client)) };
}

async function signingKey(kid) {
  const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true });
  return { ...(await jose.exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid };
}

/** The handler of all requests; `client` is { id, secret, redirectUri }. */
async function requests(issuer, { id, secret, redirectUri }) {
  const key = await signingKey('signing-1');
  const lie = { told: 'none' };
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: id,
        client_secret: secret,
        redirect_uris: [redirectUri],
        response_types: ['code'],
        grant_types: ['authorization_code'],
        token_endpoint_auth_method: 'client_secret_post',
        id_token_signed_response_alg: 'ES256',
        userinfo_signed_response_alg: 'ES256',
        subject_type: 'pairwise',
        require_auth_time: true,
      },
    ],
    jwks: { keys: [key] },
    acrValues: ['eidas1'],
    subjectTypes: ['pairwise'],
    pairwiseIdentifier: (_, account, { clientId }) => `${clientId}-${account}-v1`,
    claims: {
      openid: ['sub'],
      acr: null,
      auth_time: null,
      ...Object.fromEntries(SCOPES.map((name) => [name, [name]])),
    },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    features: { devInteractions: { enabled: false }, jwtUserinfo: { enabled: true } },
    findAccount: (_, account) => ({ accountId: account, claims: () => ({ sub: account, ...ANGELA }) }),
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    // FranceConnect's clients do not ask people for leave; their scopes were agreed beforehand.
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope(['openid', ...SCOPES].join(' '));
      await grant.save();
      return grant;
    },
    pkce: { required: () => false },
    ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 600, IdToken: 60, Interaction: 600, Session: 600 },
    renderError: (ctx, out) => {
      ctx.type = 'text';
      ctx.body = JSON.stringify(out);
    },
    routes: {
      authorization: '/api/v2/authorize',
      token: '/api/v2/token',
      userinfo: '/api/v2/userinfo',
      jwks: '/api/v2/jwks',
      end_session: '/api/v2/session/end',
    },
  });
  provider.use(lies(lie, key));
  const answer = provider.callback();
  return (request, response) => {
    const url = new URL(request.url, issuer);
    if (url.pathname === '/api/v2/authorize' && [...url.searchParams.keys()].some((name) => !PARAMETERS.has(name))) {
      response.writeHead(400).end('a parameter is not allowed');
    } else if (url.pathname.startsWith('/interaction/')) {
      interaction(provider, lie, request, response).catch((error) => response.writeHead(500).end(String(error)));
    } else {
      answer(request, response);
    }
  };
}

/** The page where a person says who they are; the field `lie` is the test's own. */
async function interaction(provider, lie, request, response) {
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    const button = '<button name="persona" value="angela">Angela</button>';
    response.end(`<form method="post" action="${request.url}">${button}</form>`);
    return;
  }
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  const form = new URLSearchParams(body);
  lie.told = form.get('lie');
  const acr = lie.told === 'acr' ? 'eidas3' : 'eidas1';
  const login = { accountId: form.get('persona'), acr, remember: false };
  await provider.interactionFinished(request, response, { login });
}

/** Changes what the provider answers, as `lie` says, and signs it again with its own key. */
function lies(lie, key) {
  const sign = async (token, change) => {
    const signer = lie.told === 'key' ? await signingKey(key.kid) : key;
    const jwt = new jose.SignJWT({ ...jose.decodeJwt(token), ...change });
    return jwt.setProtectedHeader(jose.decodeProtectedHeader(token)).sign(await jose.importJWK(signer));
  };
  const other = 'https://fournisseur.example';
  const idToken = { 'signed-again': {}, 'token-iss': { iss: other }, nonce: { nonce: 'x'.repeat(64) }, key: {} };
  const userinfo = { 'signed-again': {}, 'userinfo-iss': { iss: other }, 'userinfo-sub': { sub: 'somebody else' } };
  return async (ctx, next) => {
    await next();
    const location = ctx.response.get('location');
    if (lie.told === 'answer-iss' && location.includes('code=')) {
      const url = new URL(location);
      url.searchParams.set('iss', other);
      ctx.set('location', url.href);
    }
    if (ctx.path === '/api/v2/token' && lie.told in idToken && ctx.body.id_token) {
      ctx.body = { ...ctx.body, id_token: await sign(ctx.body.id_token, idToken[lie.told]) };
    }
    if (ctx.path === '/api/v2/userinfo' && lie.told in userinfo) {
      ctx.body = await sign(ctx.body, userinfo[lie.told]);
    }
  };
}
