// The demonstration's mesh, started and stopped.

import { start, within } from './process.mjs';

const UP_MS = 180_000;
const DOWN_MS = 60_000;

/**
 * Raises a new world in the folder `dir`, where one logs in at `issuers`: as FranceConnect, FranceConnect+ and ProConnect
 * (its own providers where absent).
 * Answers its addresses and a way to stop it, which must end well.
 */
export async function raise(dir, issuers = []) {
  const options = ['--issuer', '--issuer-plus', '--issuer-pro'];
  const given = issuers.flatMap((issuer, n) => [options[n], issuer]);
  // A busy machine may stand still for longer than the demonstration's lease lasts.
  const args = ['demo', '--stay', '--dir', dir, '--json', '--lease-ms', '5000', ...given];
  const demo = start(process.env.UNEFOIS, args);
  const up = async () => {
    for await (const line of demo.lines) {
      const step = JSON.parse(line);
      if (step.step === 'up') return step.addresses;
    }
    throw new Error(`the demonstration ended by itself: ${demo.cause()}`);
  };
  const addresses = await within(UP_MS, 'the demonstration is up', up());
  const stop = async () => {
    demo.child.kill('SIGTERM');
    const code = await within(DOWN_MS, 'the demonstration stops', demo.end);
    if (code !== 0) throw new Error(`the demonstration ended with ${code}: ${demo.cause()}`);
  };
  return { addresses, stop };
}
