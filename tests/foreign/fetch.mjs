// Runs the Python consumer.

import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ok } from './check.mjs';
import { CNAF, MESR } from './consumer.mjs';
import { start, within } from './process.mjs';

const DEADLINE_MS = 30_000;
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/**
 * grpcio fetches with `tokens`; answers what it ends with. It prints a line `ok …` for each thing that holds, and one
 * of JSON at last.
 */
export async function fetches({ dir, pin, cnaf, mesr }, tokens) {
  const python = start(here('.venv/bin/python'), [here('fetch.py')], {
    env: { PATH: process.env.PATH, PYTHONPATH: here('stubs'), PYTHONDONTWRITEBYTECODE: '1' },
  });
  const producers = { [CNAF]: { address: cnaf, ...tokens[CNAF] }, [MESR]: { address: mesr, ...tokens[MESR] } };
  python.child.stdin.end(JSON.stringify({ dir, pin, producers, ended: tokens.ended }));
  let answer;
  const read = once(python.lines, 'close');
  python.lines.on('line', (line) => {
    if (line.startsWith('ok ')) ok(line.slice(3));
    else answer = line;
  });
  const [code] = await within(DEADLINE_MS, 'the Python consumer ends', Promise.all([python.end, read]));
  if (code !== 0) throw new Error(`the Python consumer ended with ${code}: ${python.cause()}`);
  return JSON.parse(answer);
}
