// The three kinds of identity provider, as their documentation has them: what each takes, asserts and knows of whom.

const IDENTITY = ['family_name', 'given_name', 'preferred_username', 'birthdate', 'gender', 'birthplace', 'birthcountry'];
const OFFICE = ['given_name', 'usual_name', 'siret', 'organizational_unit'];
/** The parameters that FranceConnect's `/authorize` takes; it refuses any other. */
const PARAMETERS = [
  'client_id', 'acr_values', 'claims', 'response_type', 'nonce', 'state', 'redirect_uri', 'scope', 'prompt',
  'idp_hint', 'ui_locales',
];
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
/** A made-up officer of the commune. */
const CAMILLE = {
  given_name: 'Camille',
  usual_name: 'EXEMPLE',
  siret: '21920023500014',
  organizational_unit: 'Service des écoles',
};

const ENCRYPTED = { alg: 'ECDH-ES', enc: 'A256GCM' };

/** `name` is the short name at the portal, `other` a level that is not the provider's to assert. */
export const FRANCECONNECT = {
  name: 'fc', parameters: PARAMETERS, acr: 'eidas1', acrs: ['eidas1'], other: 'eidas3', scopes: IDENTITY, claims: ANGELA,
};
/** It signs, then encrypts to its client's key. */
export const FRANCECONNECT_PLUS = {
  ...FRANCECONNECT, name: 'fcp', acr: 'eidas2', acrs: ['eidas2', 'eidas3'], other: 'eidas1', encryption: ENCRYPTED,
};
/** Officers, with PKCE. */
export const PROCONNECT = {
  name: 'pro',
  parameters: [...PARAMETERS, 'code_challenge', 'code_challenge_method'],
  acr: 'agent',
  acrs: ['agent', 'dirigeant'],
  other: 'eidas1',
  scopes: OFFICE,
  claims: CAMILLE,
  pkce: true,
};
