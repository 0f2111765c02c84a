// The programs that a run starts; none outlives it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const MAX_STDERR = 4_000;
const running = new Set();

process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => process.exit(1));
}

/** Starts `command`; `lines` gives what it prints, `end` its exit code, `cause` the end of its error output. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], ...options });
  running.add(child);
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-MAX_STDERR);
  });
  const end = once(child, 'close').then(([code]) => code);
  end.then(() => running.delete(child), () => running.delete(child));
  return {
    child,
    lines: createInterface({ input: child.stdout }),
    end,
    cause: () => errors,
  };
}

/** `promise`, or an error once `ms` have passed. */
export async function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
