import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { join } from 'node:path';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';

let app: TestApp;
let client: api.Client;
beforeAll(async () => {
  app = await createTestApp({ work: false });
  client = clientOf(app);
});
afterAll(() => app.close());

describe('Destinations over the API', () => {
  it('are created, listed with what lies there, chosen by a config, and deleted', async () => {
    const path = join(app.folder, 'second');
    const input = { name: 'Second', directory: { storageType: 'SYSTEM' as const, path } };
    const { createDestination: made } = await client.request(api.CreateDestinationDocument, { input });
    expect(made).toMatchObject({ name: 'Second', location: path, storageType: 'SYSTEM', error: null, backupCount: 0 });
    const { updateConfig } = await client.request(api.UpdateConfigDocument, {
      id: '1',
      input: { destinationIds: [made.id] },
    });
    expect(updateConfig.destinations).toEqual([expect.objectContaining({ id: made.id, name: 'Second' })]);
    const { fileSize } = await app.backup();
    const { destinations } = await client.request(api.DestinationsDocument);
    expect(destinations).toContainEqual(expect.objectContaining({ id: made.id, backupCount: 1, used: fileSize }));
    const refused = await send(app, `mutation { deleteDestination(id: "${made.id}") { id } }`);
    expect(refused.errors).toMatchObject([{ extensions: { code: 'DESTINATION_IN_USE' } }]);
    const copies = await send(
      app,
      '{ backups { nodes { copies { filePath destination { name location offline } } } } }',
    );
    expect(JSON.stringify(copies.data)).toContain('"name":"Second"');
  });

  it('answer a test with what does not work', async () => {
    const input = { directory: { storageType: 'SYSTEM' as const, path: '/proc/nothing' } };
    const { testDestination } = await client.request(api.TestDestinationDocument, { input });
    expect(testDestination).toMatchObject({ ok: false, error: { code: 'STORAGE_UNAVAILABLE' } });
  });

  it.each([
    ['two kinds', '{directory: {storageType: SYSTEM, path: "/srv"}, s3: {bucket: "okpuja"}}'],
    ['no kind', '{name: "x"}'],
    ['a bucket as folder', '{directory: {storageType: S3, path: "/srv"}}'],
    ['a limit for a folder', '{bandwidthLimit: 5000, directory: {storageType: SYSTEM, path: "/srv/x"}}'],
  ])('are refused with %s', async (_title, input) => {
    const { errors } = await send(app, `mutation { createDestination(input: ${input}) { id } }`);
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
  });
});
