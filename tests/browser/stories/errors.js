// What goes wrong in ordinary ways is said in words, and leads somewhere.

import { judge } from '../judge.js';

export const name = 'errors';

export async function run({ visitor, check }) {
  const { page } = visitor;
  await check('an address that does not exist', async () => {
    await visitor.open('/nulle-part', 404);
    await visitor.reads('Cette page n’existe pas');
    await judge(visitor, 'erreur-404');
    await page.getByRole('main').getByRole('link', { name: 'Accueil' }).click();
    await page.waitForURL((url) => url.pathname === '/');
  });
  await check('a link of the town hall that was cut', async () => {
    await visitor.open('/as/authorize?client_id=x', 400);
    await judge(visitor, 'erreur-lien');
  });
  await check('an answer of the provider to a login that this browser did not begin', async () => {
    await visitor.open('/fc/retour?state=inconnu&code=x', 400);
    await visitor.reads('La réponse est arrivée trop tard, ou dans un autre navigateur.');
    await judge(visitor, 'connexion-perdue');
    await page.getByRole('link', { name: /FranceConnect/ }).click();
    await page.waitForURL((url) => url.origin === visitor.provider);
  });
  await check('the login is broken off', async () => {
    await visitor.open('/connexion?suite=/historique&erreur=abandon');
    await visitor.reads('Vous avez interrompu la connexion');
    await judge(visitor, 'connexion-interrompue');
  });
}
