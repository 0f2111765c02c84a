// What a person does with a mouse, whatever the language.

import { ensure } from './report.js';

export const QF = 'cnaf/quotient-familial@1';
export const STUDENT = 'mesr/statut-etudiant@1';

// Words that the person looks for, in both languages.
export const WORDS = {
  fr: {
    household: /composition de votre foyer/,
    school: /Votre établissement/,
    fetch: 'Récupérer pour moi',
    provide: 'Je fournirai la pièce moi-même',
    stop: 'Arrêter',
  },
  en: {
    household: /members of your household/,
    school: /Your institution/,
    fetch: 'Fetch it for me',
    provide: 'I will provide the document myself',
    stop: 'Stop',
  },
};

// Follows the commune's link, and at the provider's page chooses who she is.
export async function logIn(visitor, asked, who = /Angela/) {
  const { page } = visitor;
  await page.goto(asked.url);
  await page.waitForURL((url) => url.origin === visitor.provider);
  await page.getByRole('button', { name: who }).click();
  await visitor.at('/demande/');
}

// Presses one of the two buttons, once or as fast as a double click; the address at which the commune's site is reached.
export async function decide(visitor, commune, button, clickCount = 1) {
  await visitor.page.getByRole('button', { name: button, exact: true }).click({ clickCount });
  await visitor.page.waitForURL((url) => commune.isReturn(url));
  return visitor.page.url();
}

// At the page of a withdrawal: presses « Actualiser » as long as it is under way.
export async function effective(visitor) {
  const { page } = visitor;
  await visitor.reads('Retrait');
  const refresh = page.getByRole('link', { name: 'Actualiser' });
  while (await refresh.count()) {
    await Promise.all([page.waitForEvent('load'), refresh.click()]);
  }
  await visitor.reads('Retrait effectif à');
}

// The call is refused with this reason.
export async function refused(call, reasonOf, reason) {
  const error = await call.then(() => null, (error) => error);
  ensure(error, `it was not refused with ${reason}`);
  const seen = reasonOf(error);
  ensure(seen === reason, `refused with ${seen}, not ${reason}: ${error.message}`);
}
