// Runs the Python verifier of ledgers.

import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ok } from './check.mjs';
import { CNAF, MESR } from './consumer.mjs';
import { start, within } from './process.mjs';

const AUTHORITY = 'urn:unefois:participant:13002526500013';
const DEADLINE_MS = 300_000;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** verify_ledger.py agrees with every ledger, and refuses forged ones; it prints a line `ok …` for each thing. */
export async function ledgers(addresses) {
  const { witnesses } = addresses;
  const members = {
    authority: { id: AUTHORITY, witnesses: witnesses.authority },
    cnaf: { id: CNAF, witnesses: witnesses.cnaf },
    mesr: { id: MESR, witnesses: witnesses.mesr },
  };
  const python = start(here('.venv/bin/python'), [here('ledgers.py')], {
    env: { PATH: process.env.PATH, UNEFOIS: process.env.UNEFOIS, PYTHONDONTWRITEBYTECODE: '1' },
  });
  python.child.stdin.end(JSON.stringify({ ...addresses, members }));
  const read = once(python.lines, 'close');
  python.lines.on('line', (line) => ok(line.slice('ok '.length)));
  const [code] = await within(DEADLINE_MS, 'the verifier ends', Promise.all([python.end, read]));
  if (code !== 0) throw new Error(`the verifier of ledgers ended with ${code}: ${python.cause()}`);
}
