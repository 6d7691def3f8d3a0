import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createWorld, NEVER, type World } from '../support/world.js';
import { type Case, cases } from './generated.js';
import { runAll, stateOf } from './state.js';

/** Each takes about a second: what a plan, a run and an undo add to the engine's part is the same in all. */
const RUNS = 20;

async function roundTrip(world: World, found: Case): Promise<void> {
  await runAll(world.database, found.build);
  const backup = await world.backup();
  expect(backup).toMatchObject({ status: 'COMPLETED', errorMessage: null });
  await runAll(world.database, found.breaks);
  const before = await stateOf(world.database);
  const names = (backup.tables ?? []).map(({ name }) => name);
  const tables = [...new Set(found.chosen.map(({ index }) => names[index % names.length] ?? ''))];
  const request = { backupId: backup.id, confirm: true, tables, includeRelated: found.includeRelated };
  const plan = await world.app.restores.plan(request);
  expect(await stateOf(world.database)).toEqual(before);
  if (!plan.allowed) {
    await expect(world.restore(request)).rejects.toMatchObject({ code: plan.refusals[0]?.code });
    return;
  }
  const restore = await world.restore(request);
  expect(restore).toMatchObject({ status: 'COMPLETED', errorMessage: null });
  const undo = await world.app.restores.createUndo(restore.id, 'test');
  await world.app.restores.run(undo.id, NEVER);
  expect(await undo.reload()).toMatchObject({ status: 'COMPLETED', errorMessage: null });
  expect(await stateOf(world.database)).toEqual(before);
}

describe('Any selection of tables through plan, run and undo', () => {
  it('completes where the plan allows it, and the undo leaves exactly what was there', () =>
    fc.assert(
      fc.asyncProperty(cases, async (found) => {
        const world = await createWorld();
        try {
          await roundTrip(world, found);
        } finally {
          await world.close();
        }
      }),
      { numRuns: RUNS, endOnFailure: true },
    ));
});
