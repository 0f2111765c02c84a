// The run: one mesh of the demonstration, and foreign software on each of its sides.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { held } from './check.mjs';
import { raise } from './demo.mjs';
import { grants } from './grant.mjs';
import { fetches } from './fetch.mjs';
import { attestations } from './attestation.mjs';
import { ledgers } from './ledgers.mjs';
import { logins } from './login.mjs';
import { verifies } from './verifies.mjs';
import { ways } from './ways.mjs';

const DEADLINE_MS = 900_000;

async function run(dir) {
  const demo = await raise(join(dir, 'own'));
  const tokens = await grants(demo.addresses);
  await verifies(demo.addresses, tokens, await ways(demo.addresses));
  const attested = await fetches(demo.addresses, tokens);
  await attestations(demo.addresses, attested);
  await ledgers(demo.addresses);
  await demo.stop();
  await logins(join(dir, 'providers'));
}

setTimeout(() => {
  console.error(`tests/foreign: not done within ${DEADLINE_MS} ms`);
  process.exit(1);
}, DEADLINE_MS).unref();

const dir = mkdtempSync(join(tmpdir(), 'unefois-foreign-'));
process.on('exit', () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
try {
  await run(dir);
  console.log(`${held()} passed, 0 failed`);
} catch (error) {
  console.error(error);
  console.log(`${held()} passed, 1 failed`);
  process.exitCode = 1;
}
process.exit();
