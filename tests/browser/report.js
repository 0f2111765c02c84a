// Counts what held and what did not; one line each.

export class Report {
  passed = 0;
  failed = 0;

  // Runs `what`; a story ends at its first check that does not hold, so the failure is thrown on once it is said.
  async check(name, what) {
    try {
      const result = await what();
      this.passed += 1;
      console.log(`ok    ${name}`);
      return result;
    } catch (error) {
      if (!error.said) {
        this.failed += 1;
        console.log(`FAIL  ${name}\n      ${String(error.message).replaceAll('\n', '\n      ')}`);
        error.said = true;
      }
      throw error;
    }
  }
}

export function ensure(holds, message) {
  if (!holds) throw new Error(message);
}

// Both as JSON, so that arrays and objects can be compared.
export function same(seen, wanted, what) {
  const [a, b] = [JSON.stringify(seen), JSON.stringify(wanted)];
  ensure(a === b, `${what}: ${a}, not ${b}`);
}
