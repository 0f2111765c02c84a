// Runs the Python verifier of tokens and receipts.

import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ok } from './check.mjs';
import { CLAMART, CNAF, LYON, MESR } from './consumer.mjs';
import { start, within } from './process.mjs';

const DEADLINE_MS = 180_000;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** verify_token.py agrees with what the authority signed, and refuses it changed: `held` of grants, and of the other `ways`. */
export async function verifies({ dir, pin }, held, ways) {
  const python = start(here('.venv/bin/python'), [here('verify_token.py')], {
    env: { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: '1' },
  });
  const issued = ({ access_token, pivot_jwe }, operator, member) => {
    const certificate = join(dir, member, 'tls.pem');
    return { token: access_token, pivot_jwe, certificate, operator, client: member === 'lyon' ? LYON : CLAMART };
  };
  const tokens = [CNAF, MESR].map((operator) => issued(held[operator], operator, 'lyon'));
  tokens.push(...ways.map((way) => issued(way.tokens, CNAF, way.member)));
  const receipts = held.receipts.map((file) => ({ file, says: { capacity: 'self' } }));
  receipts.push(...ways.map(({ file, says }) => ({ file, says })));
  python.child.stdin.end(JSON.stringify({ dir, pin, tokens, receipts }));
  const read = once(python.lines, 'close');
  python.lines.on('line', (line) => ok(line.slice('ok '.length)));
  const [code] = await within(DEADLINE_MS, 'the verifier ends', Promise.all([python.end, read]));
  if (code !== 0) throw new Error(`the verifier of tokens ended with ${code}: ${python.cause()}`);
}
