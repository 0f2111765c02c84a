// What the person does between the consumer's link and the way back to it.

import assert from 'node:assert/strict';
import { Browser } from './browser.mjs';
import { BACK } from './consumer.mjs';

/** From `page`, goes on to the identity provider's page. */
export async function toProvider(browser, page) {
  const link = page.link('/fc/connexion');
  return link ? browser.open(new URL(link, page.url)) : page;
}

/** Logs in as that test identity at the demonstration's own provider. */
export const persona = (key) => (browser, page) => browser.submit(page, 'persona', { persona: key });
/** Logs in as Angela DUBOIS. */
export const angela = persona('angela');

/** Opens the consumer's link in a new browser, logs in by `logIn`, and ends at the page that asks. */
export async function arrive(url, logIn = angela) {
  const browser = new Browser();
  const provider = await toProvider(browser, await browser.open(url));
  const page = await logIn(browser, provider);
  return { browser, page };
}

/** Arrives, gives the answer `choice`, and ends at the consumer's address; answers that and the browser. */
export async function choose(url, choice, logIn) {
  const { browser, page } = await arrive(url, logIn);
  const back = await browser.submit(page, 'choix', { choix: choice }, BACK);
  assert.ok(back.url.href.startsWith(BACK), `the browser ended at ${back.url.pathname}, which answers ${back.status}`);
  return { browser, back: back.url };
}

/** The same, but for the browser. */
export const answer = async (url, choice, logIn) => (await choose(url, choice, logIn)).back;

/** Lets the consumer fetch. */
export const grant = (url, logIn) => answer(url, 'recuperer', logIn);
/** Will provide the paper. */
export const decline = (url) => answer(url, 'fournir');
