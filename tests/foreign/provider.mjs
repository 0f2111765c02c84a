// npm `oidc-provider` as each of FranceConnect, FranceConnect+ and ProConnect: parameters, levels, scopes, pairwise
// subjects, signed userinfo, encrypted answers, PKCE.

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';
import { lies, signingKey } from './lies.mjs';

/** A port on loopback that answers once `serve` is called; its issuer is known before its only client is. */
export async function reserve(kind) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { issuer, close, serve: async (client) => server.on('request', await requests(kind, issuer, client)) };
}

/** What the client has registered; `encryptTo` is its public key, where answers are encrypted. */
const registration = (kind, { id, secret, redirectUri, home, encryptTo }) => ({
  client_id: id,
  client_secret: secret,
  redirect_uris: [redirectUri],
  post_logout_redirect_uris: [home],
  response_types: ['code'],
  grant_types: ['authorization_code'],
  token_endpoint_auth_method: 'client_secret_post',
  id_token_signed_response_alg: 'ES256',
  userinfo_signed_response_alg: 'ES256',
  subject_type: 'pairwise',
  require_auth_time: true,
  ...(kind.encryption && {
    jwks: { keys: [encryptTo] },
    id_token_encrypted_response_alg: kind.encryption.alg,
    id_token_encrypted_response_enc: kind.encryption.enc,
    userinfo_encrypted_response_alg: kind.encryption.alg,
    userinfo_encrypted_response_enc: kind.encryption.enc,
  }),
});

/** The handler of all requests. */
async function requests(kind, issuer, client) {
  const key = await signingKey('signing-1');
  const state = { lie: 'none told', nonce: '' };
  const pairwise = (account) => `${client.id}-${account}-v1`;
  const provider = new Provider(issuer, {
    clients: [registration(kind, client)],
    jwks: { keys: [key] },
    acrValues: kind.acrs,
    subjectTypes: ['pairwise'],
    pairwiseIdentifier: (_, account) => pairwise(account),
    claims: {
      openid: ['sub'],
      acr: null,
      auth_time: null,
      ...Object.fromEntries(kind.scopes.map((name) => [name, [name]])),
    },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    features: {
      devInteractions: { enabled: false },
      jwtUserinfo: { enabled: true },
      encryption: { enabled: Boolean(kind.encryption) },
    },
    ...(kind.encryption && {
      enabledJWA: {
        idTokenEncryptionAlgValues: [kind.encryption.alg],
        idTokenEncryptionEncValues: [kind.encryption.enc],
        userinfoEncryptionAlgValues: [kind.encryption.alg],
        userinfoEncryptionEncValues: [kind.encryption.enc],
      },
    }),
    findAccount: (_, account) => ({ accountId: account, claims: () => ({ sub: account, ...kind.claims }) }),
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    // Clients of the State's providers do not ask people for leave; their scopes were agreed beforehand.
    loadExistingGrant: async ({ oidc }) => {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope(['openid', ...kind.scopes].join(' '));
      await grant.save();
      return grant;
    },
    pkce: { required: () => Boolean(kind.pkce) },
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
  const world = { kind, issuer, client: client.id, sub: pairwise('angela'), key, encryptTo: client.encryptTo };
  provider.use(lies(state, world));
  const answer = provider.callback();
  const parameters = new Set(kind.parameters);
  return (request, response) => {
    const url = new URL(request.url, issuer);
    if (url.pathname === '/api/v2/authorize') {
      if ([...url.searchParams.keys()].some((name) => !parameters.has(name))) {
        response.writeHead(400).end('a parameter is not allowed');
        return;
      }
      state.nonce = url.searchParams.get('nonce');
    }
    if (url.pathname.startsWith('/interaction/')) {
      interaction(provider, kind, state, request, response).catch((error) => response.writeHead(500).end(String(error)));
    } else {
      answer(request, response);
    }
  };
}

/** The page where somebody says who they are; the field `lie` is the test's own. */
async function interaction(provider, kind, state, request, response) {
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
    const button = '<button name="persona" value="angela">Angela</button>';
    response.end(`<form method="post" action="${request.url}">${button}</form>`);
    return;
  }
  let body = '';
  for await (const chunk of request.setEncoding('utf8')) body += chunk;
  const form = new URLSearchParams(body);
  state.lie = form.get('lie') ?? 'none told';
  const acr = state.lie === 'acr' ? kind.other : kind.acr;
  const login = { accountId: form.get('persona'), acr, remember: false };
  await provider.interactionFinished(request, response, { login });
}
