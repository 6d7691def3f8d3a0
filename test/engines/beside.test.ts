import { describe, expect, it } from '@jest/globals';
import { isLeftover, scratchName } from '../../src/engines/beside.js';
import { createMongodbEngine } from '../../src/engines/mongodb/index.js';
import { createMysqlEngine } from '../../src/engines/mysql/index.js';
import { createPostgresEngine } from '../../src/engines/postgres/index.js';

const RUN = 'verify_20250724_150000_a1b2c3d4';

describe('The scratch database of a drill', () => {
  it.each([
    ['mysql', createMysqlEngine()],
    ['postgres', createPostgresEngine()],
    ['mongodb', createMongodbEngine()],
  ])(
    'is the only one that %s drops for it: any other fails before the server is asked',
    async (scheme, { scratch }) => {
      for (const name of ['shop', scratchName('verify_20250724_150000_ffffffff'), `dbm_new_${RUN}`]) {
        const drop = scratch.drop(`${scheme}://me@127.0.0.1:1/${name}`, RUN);
        await expect(drop).rejects.toThrow(`"${name}" is not the scratch database of ${RUN}.`);
      }
      const own = scratch.drop(`${scheme}://me@127.0.0.1:1/${scratchName(RUN)}`, RUN);
      await expect(own).rejects.toMatchObject({ code: 'DATABASE_NOT_FOUND' });
    },
  );

  it('counts as left behind a day after the time in its name', () => {
    const named = (age: number) =>
      scratchName(
        `verify_${new Date(Date.now() - age).toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '_')}_a1b2c3d4`,
      );
    expect(isLeftover(named(23 * 3_600_000))).toBe(false);
    expect(isLeftover(named(25 * 3_600_000))).toBe(true);
  });
});
