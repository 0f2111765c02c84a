// Runs the Python consumer.

import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ok } from './check.mjs';
import { CNAF, MESR } from './consumer.mjs';
import { start, within } from './process.mjs';

const DEADLINE_MS = 180_000;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Runs the Python program `name` on `input`: a line `ok …` for each thing that holds; answers its last other line. */
async function python(name, input) {
  const program = start(here('.venv/bin/python'), [here(name)], {
    env: { PATH: process.env.PATH, PYTHONPATH: here('stubs'), PYTHONDONTWRITEBYTECODE: '1' },
  });
  program.child.stdin.end(JSON.stringify(input));
  let answer;
  const read = once(program.lines, 'close');
  program.lines.on('line', (line) => {
    if (line.startsWith('ok ')) ok(line.slice(3));
    else answer = line;
  });
  const [code] = await within(DEADLINE_MS, `${name} ends`, Promise.all([program.end, read]));
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${program.cause()}`);
  return answer;
}

/** grpcio fetches with `tokens`; answers the attestations. */
export async function fetches({ dir, pin, cnaf, mesr }, tokens) {
  const producers = { [CNAF]: { address: cnaf, ...tokens[CNAF] }, [MESR]: { address: mesr, ...tokens[MESR] } };
  return JSON.parse(await python('fetch.py', { dir, pin, producers, ended: tokens.ended }));
}

/** grpcio fetches the reference tax income with what `held` of a login at `issuer`. */
export async function incomes({ dir, pin, dgfip }, held, issuer) {
  await python('income.py', { dir, pin, address: dgfip, held, issuer });
}
