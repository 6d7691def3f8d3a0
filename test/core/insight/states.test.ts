import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { readStates, type Thoroughness } from '../../../src/core/insight/states.js';
import { AppError } from '../../../src/errors.js';
import type { BackupRow } from '../../../src/models/index.js';

const BROKEN = 'broken';

/** Asks backups that answer so, oldest first. */
async function ask(answers: readonly string[], thoroughness: Thoroughness) {
  const backups = answers.map((_, index) => ({ id: String(index) }) as BackupRow);
  const read: number[] = [];
  const { states, unreadable } = await readStates<string>(backups, thoroughness, {
    read: async ({ id }) => {
      read.push(Number(id));
      const answer = answers[Number(id)] ?? '';
      if (answer === BROKEN) throw new AppError('ARCHIVE_CORRUPT', `${id} is broken.`);
      return answer;
    },
    same: (one, other) => one === other,
  });
  const found = states.map(({ backup, answer }) => ({ at: Number(backup.id), answer }));
  return { found, unreadable: unreadable.map(({ id }) => Number(id)), read };
}

/** Where neighbours among those that were found differ. */
const changes = (found: { at: number; answer: string }[]) =>
  found.flatMap(({ at, answer }, index) => {
    const next = found[index + 1];
    return next !== undefined && next.answer !== answer ? [[at, next.at]] : [];
  });

describe('Backups that are asked how something was', () => {
  it('show each change with few of them read, if no answer comes back', async () => {
    const answers = Array.from({ length: 365 }, (_, day) => (day < 40 ? 'a' : day < 200 ? 'b' : 'c'));
    const { found, read } = await ask(answers, 'CHANGES');
    expect(changes(found)).toEqual([
      [39, 40],
      [199, 200],
    ]);
    expect(read.length).toBeLessThanOrEqual(20);
  });

  it('are all read on request, so that an answer which came and went is seen', async () => {
    const { found } = await ask(['a', 'b', 'a'], 'EVERY');
    expect(changes(found)).toEqual([
      [0, 1],
      [1, 2],
    ]);
    expect(changes((await ask(['a', 'b', 'a'], 'CHANGES')).found)).toEqual([]);
  });

  it('that cannot be read have the next one stand in for them, and are named', async () => {
    const { found, unreadable } = await ask([BROKEN, 'a', 'a', BROKEN, 'b', BROKEN], 'CHANGES');
    expect(changes(found)).toEqual([[2, 4]]);
    expect(unreadable.sort()).toEqual([0, 3, 5]);
  });

  it('of which none can be read give the error of the first that was tried', async () => {
    await expect(ask([BROKEN, BROKEN], 'CHANGES')).rejects.toMatchObject({ code: 'ARCHIVE_CORRUPT' });
  });

  it('never leave a readable one between two neighbours that differ, whatever they answer', async () => {
    const answer = fc.constantFrom('a', 'b', 'c', BROKEN);
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 30 }), async (answers) => {
        if (answers.every((one) => one === BROKEN)) return;
        const readable = answers.flatMap((one, index) => (one === BROKEN ? [] : [index]));
        const between = (from: number, to: number) => readable.filter((index) => index > from && index < to);
        const all = await ask(answers, 'CHANGES');
        for (const [from = 0, to = 0] of changes(all.found)) expect(between(from, to)).toEqual([]);
        expect(new Set(all.read).size).toBe(all.read.length);
        const last = await ask(answers, 'LAST_CHANGE');
        const newest = answers[readable.at(-1) ?? 0];
        const [from = 0, to = 0] = changes(last.found).at(-1) ?? [];
        if (changes(last.found).length === 0) return expect(answers[readable[0] ?? 0]).toBe(newest);
        expect(between(from, to)).toEqual([]);
        expect([answers[to], answers[from] === newest]).toEqual([newest, false]);
      }),
    );
  });
});
