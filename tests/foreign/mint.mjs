// npm `oidc-provider` as an authorization server beside ours, for `unefois bench mint --beside`: access tokens in JWT signed
// with ES256, bound to the certificate of the client, and everything else in memory. Arguments: the files of the
// certificate authority, of this server's certificate and of its key, and the name of the one client.

import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import * as jose from 'jose';
import Provider from 'oidc-provider';

const RESOURCE = 'urn:unefois:participant:18003506500010';

const [ca, cert, key, client] = process.argv.slice(2);
const server = createServer({
  ca: readFileSync(ca),
  cert: readFileSync(cert),
  key: readFileSync(key),
  requestCert: true,
  rejectUnauthorized: true,
  minVersion: 'TLSv1.3',
  keepAliveTimeout: 60_000,
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `https://localhost:${server.address().port}`;

const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true });
const jwk = { ...(await jose.exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'signing-1' };
const certificate = ({ socket }) => new X509Certificate(socket.getPeerCertificate(true).raw);
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: client,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_san_uri: client,
      tls_client_certificate_bound_access_tokens: true,
      id_token_signed_response_alg: 'ES256',
    },
  ],
  clientAuthMethods: ['tls_client_auth'],
  jwks: { keys: [jwk] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    mTLS: {
      enabled: true,
      tlsClientAuth: true,
      certificateBoundAccessTokens: true,
      getCertificate: certificate,
      certificateAuthorized: ({ socket }) => socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) =>
        property === 'tls_client_auth_san_uri' && certificate(ctx).subjectAltName.includes(`URI:${expected}`),
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'fetch',
        audience: RESOURCE,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 60,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
server.on('request', provider.callback());
console.log(JSON.stringify({ token_endpoint: `${issuer}/token` }));
process.stdin.resume().on('end', () => process.exit());
