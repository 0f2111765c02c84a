// The way in without a request, and the way out.

import { judge } from '../judge.js';
import { same } from '../report.js';

export const name = 'login';

export async function run({ visitor, check }) {
  const { page } = visitor;
  await check('the home page and the login say what this is', async () => {
    await visitor.open('/');
    await judge(visitor, 'accueil');
    await page.getByRole('navigation').getByRole('link', { name: 'Se connecter' }).click();
    await visitor.at('/connexion');
    await judge(visitor, 'connexion');
  });
  await check('a page that needs a login comes back after it', async () => {
    await visitor.open('/historique');
    await visitor.at('/connexion');
    await page.getByRole('link', { name: /FranceConnect/ }).click();
    await page.waitForURL((url) => url.origin === visitor.provider);
    await judge(visitor, 'fournisseur');
    await page.getByRole('button', { name: /Joëlle/ }).click();
    await visitor.at('/historique');
    await visitor.reads('Aucun échange. C’est ici que vous les verrez.', 'Joëlle DUBINÔRE');
    await judge(visitor, 'historique-vide');
  });
  await check('she has no authorisation yet', async () => {
    await visitor.open('/autorisations');
    await visitor.reads('Aucune autorisation.');
    await judge(visitor, 'autorisations-vides');
  });
  await check('the other pages are pages for everyone', async () => {
    for (const path of ['/aide', '/donnees-personnelles', '/accessibilite']) {
      await visitor.open(path);
      await judge(visitor, path.slice(1));
    }
  });
  await check('logging out leads by the provider back home, and out', async () => {
    await page.getByRole('button', { name: 'Se déconnecter' }).click();
    await page.waitForURL((url) => url.origin === visitor.portal && url.pathname === '/');
    same(await page.getByRole('button', { name: 'Se déconnecter' }).count(), 0, 'log-out buttons');
    await visitor.open('/historique');
    await visitor.at('/connexion');
  });
}
