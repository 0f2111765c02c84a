// One line for each thing that holds, and the count of them.

import assert from 'node:assert/strict';

let passed = 0;

/** How many checks have held. */
export const held = () => passed;

/** Says that `what` holds. */
export function ok(what) {
  passed += 1;
  console.log(`ok ${what}`);
}

/** Runs `action`, which throws unless `what` holds; answers what it answers. */
export async function check(what, action) {
  try {
    const answer = await action();
    ok(what);
    return answer;
  } catch (cause) {
    throw new Error(`does not hold: ${what}`, { cause });
  }
}

/** Awaits `promise`, which must be refused with the OAuth error `code`. */
export async function refused(promise, code) {
  const error = await promise.then(
    () => assert.fail(`it was let through, not refused with ${code}`),
    (error) => error,
  );
  assert.equal(error.error, code, error);
  return error;
}
