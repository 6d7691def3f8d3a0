import { afterAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { cases } from './generated.js';
import { ends, restoreSomeTables } from './tables.js';

/** Half of the cases: the other half runs at the same time, in a process of its own. */
const CASES = Math.ceil(Number(process.env.CASES ?? 5_000) / 2);

describe('Any selection of tables of any schema', () => {
  it(`is restored and undone exactly where its plan allows it, in ${CASES} random cases`, async () => {
    await fc.assert(fc.asyncProperty(cases, restoreSomeTables), { numRuns: CASES });
  });

  afterAll(() => {
    // Cases that are all refused would show nothing.
    expect(ends.restored).toBeGreaterThan(CASES / 4);
  });
});
