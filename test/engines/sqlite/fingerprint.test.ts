import { appendFile, mkdtemp, rm, utimes } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createEngines } from '../../../src/engines/index.js';
import { exec } from '../../support/sqlite.js';

const engine = createEngines().of('SQLITE');

let folder: string;
let file: string;
const fingerprint = () => engine.fingerprint(`sqlite:${file}`);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fingerprint-'));
  file = join(folder, 'app.sqlite3');
  await exec(
    file,
    'PRAGMA journal_mode = WAL; CREATE TABLE guest (id INTEGER PRIMARY KEY); INSERT INTO guest VALUES (1)',
  );
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('the fingerprint of a database', () => {
  it('is unknown while another write could leave the same times', async () => {
    // A time of this moment, however long the call took to get here.
    const soon = new Date(Date.now() + 60_000.5);
    await utimes(file, soon, soon);
    expect(await fingerprint()).toBeNull();
  });

  it('is known soon after a write where times are exact, and another after the next write', async () => {
    await sleep(200);
    const first = await fingerprint();
    expect(first).not.toBeNull();
    expect(await fingerprint()).toBe(first);
    await exec(file, 'INSERT INTO guest VALUES (2)');
    await sleep(200);
    expect(await fingerprint()).not.toBe(first);
  });

  it('is another one after a write that leaves size and time of the file', async () => {
    await sleep(200);
    const time = new Date(Date.now() - 3_600_000);
    await utimes(file, time, time);
    await sleep(200);
    const first = await fingerprint();
    await appendFile(`${file}-wal`, 'x');
    await utimes(file, time, time);
    await sleep(200);
    expect(first).not.toBeNull();
    expect(await fingerprint()).not.toBe(first);
  });

  it('is unknown for two seconds where the file system keeps whole seconds', async () => {
    const second = new Date(Math.floor(Date.now() / 1_000) * 1_000);
    await utimes(file, second, second);
    await sleep(200);
    const isYoung = Date.now() - second.getTime() < 1_900;
    expect(isYoung && (await fingerprint()) !== null).toBe(false);
    const long = new Date(second.getTime() - 10_000);
    await utimes(file, long, long);
    await sleep(200);
    expect(await fingerprint()).not.toBeNull();
  });
});
