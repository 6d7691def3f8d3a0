import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createLog } from '../../src/log.js';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';
import { NEVER } from '../support/world.js';

/** What the server logs. */
const logged = new PassThrough();
let app: TestApp;
let client: api.Client;
beforeAll(async () => {
  app = await createTestApp({ work: false, log: createLog('debug', logged) });
  client = clientOf(app);
});
afterAll(() => app.close());

describe('Encryption over the API', () => {
  it('makes a key, backs up, restores and rewraps with its identity, and repeats no secret', async () => {
    const made = await client.request(api.CreateEncryptionKeyDocument, { input: { name: 'Safe', generate: true } });
    const { key, identity } = made.createEncryptionKey;
    const input = { encryptionKeyIds: [key.id] };
    const { updateConfig } = await client.request(api.UpdateConfigDocument, { id: '1', input });
    expect(updateConfig.encryptionKeys).toEqual([expect.objectContaining({ id: key.id, heldHere: false })]);
    const { id } = await app.backup();
    const answers: unknown[] = [updateConfig];
    const ask = async (query: string, variables: Record<string, unknown> = {}) => {
      const answer = await send(app, query, variables);
      answers.push(answer);
      return answer;
    };
    const backup = `{ backup(id: "${id}") { encrypted fileName encryptionKeys { id name recipient } } }`;
    expect((await ask(backup)).data).toEqual({
      backup: {
        encrypted: true,
        fileName: expect.stringMatching(/\.zip\.age$/),
        encryptionKeys: [{ id: key.id, name: 'Safe', recipient: key.recipient }],
      },
    });
    const media = 'query($identity: String) { backupMedia(id: "ID", identity: $identity) { totalCount } }'.replace(
      'ID',
      id,
    );
    expect((await ask(media)).errors).toMatchObject([{ extensions: { code: 'ENCRYPTION_KEY_MISSING' } }]);
    expect((await ask(media, { identity })).data).toEqual({ backupMedia: { totalCount: 3 } });
    const restore =
      'mutation($input: RestoreBackupInput!) { restoreBackup(input: $input) { id status warnings errorMessage } }';
    const requested = await ask(restore, { input: { backupId: id, confirm: true, identity } });
    expect(requested).toMatchObject({ errors: [], data: { restoreBackup: { status: 'PENDING' } } });
    const { id: restoreId } = (requested.data as { restoreBackup: { id: string } }).restoreBackup;
    await app.app.restores.run(restoreId, NEVER);
    expect((await app.app.restores.get(restoreId)).status).toBe('COMPLETED');
    const rewrap = `mutation($identity: String) { rewrapBackup(id: "${id}", encryptionKeyIds: ["2"], identity: $identity) { encryptionKeys { name } } }`;
    await client.request(api.CreateEncryptionKeyDocument, {
      input: { name: 'Words', passphrase: 'four random words' },
    });
    await ask(
      '{ restores { nodes { id status errorMessage } } auditEvents { nodes { details } } encryptionKeys { name } }',
    );
    expect((await ask(rewrap, { identity })).data).toEqual({ rewrapBackup: { encryptionKeys: [{ name: 'Words' }] } });
    const text = JSON.stringify(answers) + String(logged.read());
    expect(text).toContain('restore completed');
    for (const secret of [identity ?? '', 'four random words']) expect(text).not.toContain(secret);
  });

  it.each([
    ['an identity that opens nothing here', 'AGE-SECRET-KEY-1WRONG', 'BAD_USER_INPUT'],
    ['a passphrase for a recipient', 'canary of some words', 'ENCRYPTION_KEY_WRONG'],
  ])('refuses %s without repeating it', async (_title, identity, code) => {
    const { id } = await app.backup();
    const query = 'mutation($id: ID!, $identity: String) { verifyBackup(id: $id, identity: $identity) { id } }';
    const { errors } = await send(app, query, { id, identity });
    expect(errors).toMatchObject([{ extensions: { code } }]);
    expect(JSON.stringify(errors)).not.toContain(identity);
  });
});
