// The commune: its information system, which speaks to its node with a gRPC library that is not ours, and its site,
// where browsers come back.

import { once } from 'node:events';
import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import protobuf from 'protobufjs';

import { ensure } from './report.js';

// Registered in the directory; the browser is told that this address is `port` on loopback.
export const SITE = 'http://127.0.0.1:9';
const RETURN = `${SITE}/dossiers/retour`;
const DEADLINE_MS = 60_000;

const PROTO = fileURLToPath(new URL('../../proto', import.meta.url));
const { unefois } = grpc.loadPackageDefinition(
  loader.loadSync('unefois/backoffice/v1/backoffice.proto', {
    includeDirs: [PROTO],
    keepCase: true,
    enums: String,
    defaults: true,
  }),
);

// The error model of gRPC (google.rpc.Status with ErrorInfo), as `grpc-status-details-bin` carries it.
const { root } = protobuf.parse(`syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }`, { keepCase: true });
const [Status, ErrorInfo] = ['Status', 'ErrorInfo'].map((name) => root.lookupType(name));

// The reason that a refusal carries; null where it carries none.
export function reasonOf(error) {
  const [bytes] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!bytes) return null;
  const info = Status.decode(bytes).details.find((any) => any.type_url.endsWith('/google.rpc.ErrorInfo'));
  return info ? ErrorInfo.decode(info.value).reason : null;
}

// One démarche's request, as the story of the demonstration has it.
const ELEMENTS = [
  {
    datatype: 'cnaf/quotient-familial@1',
    units: [
      { unit: 'valeur', need: 'NEED_REQUIRED' },
      { unit: 'composition', need: 'NEED_OPTIONAL' },
    ],
  },
  {
    datatype: 'mesr/statut-etudiant@1',
    units: [
      { unit: 'inscription', need: 'NEED_REQUIRED' },
      { unit: 'etablissement', need: 'NEED_OPTIONAL' },
    ],
  },
];

// Whole, as a file holds it of somebody who does not log in.
export const ANGELA = {
  family_name: 'Dubois',
  given_names: ['Angela', 'Claire', 'Louise'],
  birthdate: '1962-08-24',
  sex: 'SEX_FEMALE',
  birthplace: '75107',
  birthcountry: '99100',
};

export class Commune {
  #calls;
  #client;
  #site;
  #last = 0;

  static async open(socket) {
    const commune = new Commune();
    commune.#client = new unefois.backoffice.v1.BackofficeService(
      `unix:${socket}`,
      grpc.credentials.createInsecure(),
    );
    commune.#calls = Object.fromEntries(
      ['RequestAuthorization', 'CompleteAuthorization', 'Fetch', 'ListGrants'].map((name) => [
        name,
        promisify(commune.#client[name]).bind(commune.#client),
      ]),
    );
    commune.#site = http.createServer((request, response) => {
      const known = request.url.startsWith('/dossiers/retour');
      response.writeHead(known ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' });
      response.end('<!doctype html><html lang="fr"><link rel="icon" href="data:,"><title>Votre dossier</title><h1>Votre dossier</h1></html>');
    });
    commune.#site.listen(0, '127.0.0.1');
    await once(commune.#site, 'listening');
    return commune;
  }

  get port() {
    return this.#site.address().port;
  }

  close() {
    this.#client.close();
    this.#site.closeAllConnections();
    this.#site.close();
  }

  // Asks for what a file needs (`elements`), for Angela Dubois; where to send her browser, and what the file remembers.
  async ask(dossier, elements = ELEMENTS) {
    this.#last += 1;
    const session = `session-of-the-person-${this.#last}`;
    const { url, state } = await this.#call('RequestAuthorization', {
      way: 'WAY_PRESENT',
      demarche: 'cantine',
      dossier_ref: dossier,
      elements,
      subject: 'SUBJECT_KIND_SELF',
      capacity: 'CAPACITY_SELF',
      binding: { form: { family_name: 'Dubois', first_given_name: 'Angela', birthdate: '1962-08-24' } },
      redirect_uri: RETURN,
      session,
    });
    return { dossier, url, state, session };
  }

  // Prepares a link for a file, to be followed on whatever device; its address, and the same drawn as a QR code.
  async askByLink(dossier) {
    const { url, state, qr_code: drawn } = await this.#call('RequestAuthorization', {
      way: 'WAY_LINK',
      demarche: 'cantine',
      dossier_ref: dossier,
      elements: ELEMENTS,
      subject: 'SUBJECT_KIND_SELF',
      capacity: 'CAPACITY_SELF',
      binding: { form: { family_name: 'Dubois', first_given_name: 'Angela', birthdate: '1962-08-24' } },
      redirect_uri: RETURN,
    });
    return { dossier, url, state, session: '', drawn };
  }

  // Has an officer ask in Angela's place, who is not there; where to send the officer's browser.
  async askByOfficer(dossier, motive, identity = ANGELA) {
    this.#last += 1;
    const session = `session-of-the-officer-${this.#last}`;
    const { url, state } = await this.#call('RequestAuthorization', {
      way: 'WAY_AGENT',
      demarche: 'cantine',
      dossier_ref: dossier,
      elements: ELEMENTS,
      subject: 'SUBJECT_KIND_SELF',
      capacity: 'CAPACITY_AGENT',
      binding: { identity },
      redirect_uri: RETURN,
      session,
      motive,
    });
    return { dossier, url, state, session };
  }

  // Asks with nobody present, to tell Angela of a right; the grant.
  async askWithNobody(dossier) {
    const { grant } = await this.#call('RequestAuthorization', {
      way: 'WAY_AUTOMATIC',
      demarche: 'transports-information',
      dossier_ref: dossier,
      elements: [{ datatype: 'cnaf/quotient-familial@1', units: [{ unit: 'valeur', need: 'NEED_REQUIRED' }] }],
      subject: 'SUBJECT_KIND_SELF',
      capacity: 'CAPACITY_AUTOMATIC',
      binding: { identity: ANGELA },
    });
    return grant;
  }

  // Whether this address is the one where browsers come back.
  isReturn(url) {
    return url.href.startsWith(`${RETURN}?`);
  }

  // Hands on what the browser brought back; the grant.
  async complete(asked, returned) {
    const parameters = new URL(returned).searchParams;
    const value = (name) => parameters.get(name) ?? '';
    ensure(value('state') === asked.state, 'another state came back than the one that was sent');
    const { grant } = await this.#call('CompleteAuthorization', {
      code: value('code'),
      state: value('state'),
      iss: value('iss'),
      error: value('error'),
      session: asked.session,
    });
    return grant;
  }

  // Fetches one element of a grant.
  async fetch(grant, datatype) {
    const element = grant.elements.find((e) => e.datatype === datatype);
    ensure(element, `the grant has no ${datatype}`);
    return this.#call('Fetch', { handle: element.handle });
  }

  // The grants held for a file.
  async grants(dossier) {
    return (await this.#call('ListGrants', { dossier_ref: dossier })).grants;
  }

  #call(name, message) {
    return this.#calls[name](message, new grpc.Metadata(), { deadline: Date.now() + DEADLINE_MS });
  }
}
