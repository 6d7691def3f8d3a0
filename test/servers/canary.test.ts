import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { readDirectory } from '../../src/archive/directory.js';
import { unpacking } from '../../src/archive/pack.js';
import { fileSource } from '../../src/archive/read.js';
import { createLog } from '../../src/log.js';
import { portableRecords } from '../../src/models/portable.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { send } from '../support/operations.js';
import { startPlaces } from '../support/places.js';
import { NEVER } from '../support/world.js';

const { places, stop } = await startPlaces();
const PASSPHRASE = 'canary passphrase of many words';
const WRONG = 'canary-wrong-password';

/** Every secret of this test. */
const canaries = new Set([PASSPHRASE, WRONG]);
let app: TestApp;
let log = '';
const commands = new Set<string>();

/** The command lines of all processes, as `ps` shows them to everyone. */
async function lookAtProcesses(): Promise<void> {
  for (const id of await readdir('/proc')) {
    if (/^\d+$/.test(id)) commands.add(await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => ''));
  }
}

/** The canaries that a text holds. */
const foundIn = (text: string) => [...canaries].filter((canary) => text.includes(canary));

const destination = async (input: object) => {
  const row = await app.app.destinations.create(input as never, 'test', NEVER);
  return row.id;
};

beforeAll(async () => {
  const stream = new PassThrough().on('data', (chunk: Buffer) => (log += chunk.toString()));
  app = await createTestApp({ work: false, log: createLog('debug', stream) });
  const { keys, configs, copies, controlBackups, verifications } = app.app;
  const held = await keys.create({ name: 'Held', generate: true, keepHere: true }, 'test');
  const safe = await keys.create({ name: 'Safe', generate: true }, 'test');
  for (const { identity } of [held, safe]) canaries.add(identity ?? '');
  const words = await keys.create({ name: 'Words', passphrase: PASSPHRASE }, 'test');
  const destinationIds: number[] = [];
  for (const { missing, input } of places) {
    if (missing !== null) continue;
    const { storageType, values = {} } = await input();
    const { secrets } = app.app.storages.kindOf(storageType ?? 'SYSTEM');
    // A private key has lines: its last one before the end is secret enough.
    for (const name of secrets) if (values[name] !== undefined) canaries.add(secretPart(String(values[name])));
    destinationIds.push(await destination({ storageType, values }));
  }
  let isLooking = true;
  // One look after the other: many processes take longer than the pause.
  const looked = (async () => {
    while (isLooking) {
      await lookAtProcesses();
      await sleep(20);
    }
  })();
  await configs.update(1, { destinationIds, encryptionKeyIds: [held.key.id, safe.key.id] }, 'test');
  const row = await app.backup();
  expect(row).toMatchObject({ status: 'COMPLETED' });
  await copies.runDue(NEVER);
  await verifications.verify(row.id, 'CONTENT', 'test', NEVER, { identity: safe.identity ?? '' });
  await app.restore({ backupId: row.id, identity: safe.identity ?? '' });
  await configs.update(1, { encryptionKeyIds: [words.key.id] }, 'test');
  await app.backup();
  await controlBackups.runDue(NEVER);
  isLooking = false;
  await looked;
  const s3 = { bucket: 'nowhere', endpoint: 'http://127.0.0.1:9', accessKeyId: 'x', secretAccessKey: WRONG };
  await destination({ storageType: 'S3', values: s3 });
  const sftp = { host: '127.0.0.1', port: 9, username: 'x', path: '/x', password: WRONG };
  await destination({ storageType: 'SFTP', values: sftp });
});
afterAll(async () => {
  await app?.close();
  await stop();
});

const secretPart = (text: string) => {
  const lines = text.trim().split('\n');
  return lines.length > 1 ? (lines.at(-2) ?? text) : text;
};

describe('Of all secrets, with backups in every place', () => {
  it('none is in the log at debug, nor among the arguments of a process', () => {
    expect(canaries.size).toBeGreaterThan(6);
    expect(log).toContain('copy completed');
    expect(foundIn(log)).toEqual([]);
    expect(foundIn([...commands].join('\n'))).toEqual([]);
  });

  it('none is in a row of the control database, nor in its file', async () => {
    let rows = '';
    for await (const line of portableRecords(app.app.models)) rows += line;
    expect(foundIn(rows.replaceAll('\\n', '\n'))).toEqual([]);
    const data = join(app.folder, 'data');
    for (const name of (await readdir(data)).filter((one) => one.startsWith('db-manager.sqlite3'))) {
      expect(foundIn(await readFile(join(data, name), 'latin1'))).toEqual([]);
    }
  });

  it('none is in the recovery kit', async () => {
    const file = join(app.folder, 'kit.zip');
    await writeFile(file, await app.app.recoveryKits.make('test'));
    const source = await fileSource(file);
    const records = await readDirectory(source, NEVER);
    expect(records.map(({ path }) => path)).toContain('secrets.json.age');
    for (const { path } of records) {
      let text = '';
      for await (const chunk of unpacking(source, path, NEVER)) text += chunk.toString('latin1');
      expect([path, foundIn(text)]).toEqual([path, []]);
    }
  });

  it('none is in an answer of the API', async () => {
    const answer = await send(
      app,
      `{ destinations { id name location settings { name value } error { message hint } }
         encryptionKeys { id name recipient heldHere }
         auditEvents(first: 100) { nodes { action subject details { name value } } }
         backups { nodes { warnings errorMessage copies { filePath errorMessage } } }
         status { reasons { message hint } notices { message } storages { error { message } } } }`,
    );
    expect(answer.errors).toEqual([]);
    expect(foundIn(JSON.stringify(answer).replaceAll('\\n', '\n'))).toEqual([]);
  });
});
