// One person's browser: a context of its own, watched for whatever a person should never meet.

import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

import { SITE } from './commune.js';
import { ensure } from './report.js';

export const OUT = fileURLToPath(new URL('out/', import.meta.url));
const WAIT_MS = 60_000;

// Debian's Chromium, alone with this machine's loopback. The commune's registered address has a port that browsers
// never call and that nothing listens on; the browser is told where the commune's site really is.
export async function launch(commune) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    chromiumSandbox: false,
    timeout: 180_000,
    args: [
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--explicitly-allowed-ports=9',
      `--host-resolver-rules=MAP ${new URL(SITE).host} 127.0.0.1:${commune.port}`,
    ],
  });
}

export class Visitor {
  // What the browser complained about.
  problems = [];
  #refusals = { urls: new Set(), under: null };

  static async come(browser, world, options = {}) {
    const context = await browser.newContext({
      locale: 'fr-FR',
      viewport: { width: 1280, height: 800 },
      reducedMotion: 'reduce',
      acceptDownloads: true,
      ...options,
    });
    context.setDefaultTimeout(WAIT_MS);
    const visitor = new Visitor();
    visitor.context = context;
    visitor.page = await context.newPage();
    visitor.portal = world.addresses.portal;
    visitor.provider = world.addresses.idp;
    const allowed = [world.addresses.portal, world.addresses.idp, SITE];
    context.on('request', (request) => {
      if (!allowed.includes(new URL(request.url()).origin)) {
        visitor.problems.push(`a request went to ${request.url()}`);
      }
    });
    context.on('response', (response) => {
      if (response.status() >= 400 && !visitor.#refused(response.url())) {
        visitor.problems.push(`${response.url()} answered ${response.status()}`);
      }
    });
    context.on('console', (message) => {
      const refusal = visitor.#refused(message.location().url) && message.text().includes('Failed to load');
      if (['error', 'warning'].includes(message.type()) && !refusal) {
        visitor.problems.push(`console: ${message.text()}`);
      }
    });
    context.on('weberror', (error) => visitor.problems.push(`script: ${error.error().message}`));
    return visitor;
  }

  // Opens an address that is to answer with `status`.
  async open(address, status = 200) {
    const url = new URL(address, this.portal).href;
    if (status >= 400) this.refuses(url);
    const response = await this.page.goto(url);
    ensure(response.status() === status, `${url} answers ${response.status()}, not ${status}`);
  }

  // From now on this address may answer with an error, and the browser say so.
  refuses(url) {
    this.#refusals.urls.add(url);
  }

  // The same of every address of the portal that begins so, where it is not known before.
  refusesUnder(path) {
    this.#refusals.under = new URL(path, this.portal).href;
  }

  #refused(url) {
    return this.#refusals.urls.has(url) || (this.#refusals.under && url.startsWith(this.#refusals.under));
  }

  // What the person reads, with plain spaces.
  async text(selector = 'body') {
    const text = await this.page.locator(selector).innerText();
    return text.replaceAll(/[\u00a0\u202f]/g, ' ');
  }

  async reads(...wanted) {
    const text = await this.text();
    for (const words of wanted) ensure(text.includes(words), `the page ${this.page.url()} lacks « ${words} »`);
  }

  async at(path) {
    await this.page.waitForURL((url) => url.origin === this.portal && url.pathname.startsWith(path));
  }

  // Fails on whatever the browser complained about.
  behaved() {
    ensure(this.problems.length === 0, this.problems.join('\n'));
  }

  async keep(name) {
    await mkdir(OUT, { recursive: true });
    await this.page.screenshot({ path: `${OUT}${name}.png`, fullPage: true });
  }

  async leave() {
    await this.context.close();
  }
}
