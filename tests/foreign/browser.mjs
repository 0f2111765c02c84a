// A person's browser without scripts: cookies, redirects and forms.

import assert from 'node:assert/strict';
import { Agent, fetch } from 'undici';

const DEADLINE_MS = 60_000;
const MAX_REDIRECTS = 10;
const ENTITIES = { quot: '"', amp: '&', lt: '<', gt: '>', '#34': '"', '#38': '&', '#39': "'", '#60': '<', '#62': '>' };

const text = (html) => html.replace(/&(#?\w+);/g, (whole, name) => ENTITIES[name] ?? whole);
const attribute = (tag, name) => {
  const found = tag.match(new RegExp(`\\s${name}="([^"]*)"`));
  return found ? text(found[1]) : undefined;
};

/** Where a browser ended. */
export class Page {
  constructor(url, status, body) {
    Object.assign(this, { url, status, body });
  }

  /** The form that holds an element of the name `field`: its address and hidden fields. */
  form(field) {
    return this.#formThat((form) => form.includes(`name="${field}"`), `for ${field}`);
  }

  /** The form whose address ends so. */
  formTo(end) {
    return this.#formThat((form) => attribute(form, 'action')?.endsWith(end), `to ${end}`);
  }

  #formThat(is, what) {
    const form = this.body.match(/<form[^]*?<\/form>/g)?.find(is);
    assert.ok(form, `${this.url.pathname} answers ${this.status} without a form ${what}`);
    const fields = (form.match(/<input[^>]*>/g) ?? [])
      .filter((tag) => attribute(tag, 'type') === 'hidden')
      .map((tag) => [attribute(tag, 'name'), attribute(tag, 'value')]);
    return { action: attribute(form, 'action') ?? this.url.href, fields: Object.fromEntries(fields) };
  }

  /** The address of the first link to a path that begins so. */
  link(start) {
    const tags = this.body.match(/<a\s[^>]*>/g) ?? [];
    return tags.map((tag) => attribute(tag, 'href')).find((href) => href?.startsWith(start));
  }
}

let browsers = 0;

/** One browser, with the cookies of each origin and a loopback address of its own: the portal counts by address. */
export class Browser {
  #jars = new Map();
  #dispatcher = new Agent({ localAddress: `127.0.1.${1 + (browsers++ % 250)}`, connect: { family: 4 } });

  /** Opens `url` and follows redirects up to a page, or to an address that begins with `stop`. */
  open(url, stop) {
    return this.#go('GET', new URL(url), undefined, stop);
  }

  /** Fills the form of `page` that holds `field` with `fields`, and sends it. */
  submit(page, field, fields, stop) {
    return this.send(page, page.form(field), fields, stop);
  }

  /** Fills `form` of `page` with `fields`, and sends it. */
  send(page, form, fields, stop) {
    const body = new URLSearchParams({ ...form.fields, ...fields });
    return this.#go('POST', new URL(form.action, page.url), body, stop);
  }

  async #go(method, url, body, stop) {
    for (let n = 0; n < MAX_REDIRECTS; n += 1) {
      const jar = this.#jars.get(url.origin) ?? new Map();
      this.#jars.set(url.origin, jar);
      const headers = { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') };
      if (method === 'POST') Object.assign(headers, { origin: url.origin, 'sec-fetch-site': 'same-origin' });
      const signal = AbortSignal.timeout(DEADLINE_MS);
      const options = { method, headers, body, redirect: 'manual', signal, dispatcher: this.#dispatcher };
      const answer = await fetch(url, options);
      for (const cookie of answer.headers.getSetCookie()) {
        const [, name, value] = cookie.match(/^([^=]+)=([^;]*)/);
        if (value) jar.set(name, value);
        else jar.delete(name);
      }
      const text = await answer.text();
      const location = answer.headers.get('location');
      if (answer.status < 300 || answer.status > 399 || !location) return new Page(url, answer.status, text);
      url = new URL(location, url);
      if (stop && url.href.startsWith(stop)) return new Page(url, answer.status, '');
      [method, body] = ['GET', undefined];
    }
    throw new Error('too many redirects');
  }
}
