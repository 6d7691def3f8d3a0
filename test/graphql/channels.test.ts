import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as api from '../../src/client/index.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { clientOf, send } from '../support/operations.js';
import { type Receiver, startReceiver } from '../support/receivers.js';

let app: TestApp;
let client: api.Client;
let receiver: Receiver;
beforeAll(async () => {
  receiver = await startReceiver();
  app = await createTestApp({ work: false });
  client = clientOf(app);
});
afterAll(async () => {
  await app.close();
  await receiver.close();
});

describe('Channels over the API', () => {
  it('are created, changed, tested, listed and deleted, and never say what is secret', async () => {
    const target = `${receiver.url}/gotify?x=the-query`;
    const input = { name: 'Phone', kind: 'GOTIFY' as const, target, secret: 'the-token', configIds: ['1'] };
    const { createChannel: made } = await client.request(api.CreateChannelDocument, { input });
    expect(made).toMatchObject({
      name: 'Phone',
      target: `${receiver.url}/…`,
      configIds: ['1'],
      waiting: 0,
      lastError: null,
    });
    expect(made.events).toContain('BACKUP_FAILED');
    const change = { events: ['WEEKLY_DIGEST' as const], configIds: [] };
    const { updateChannel } = await client.request(api.UpdateChannelDocument, { id: made.id, input: change });
    expect(updateChannel).toMatchObject({ events: ['WEEKLY_DIGEST'], configIds: [] });
    expect(await client.request(api.TestChannelDocument, { id: made.id })).toEqual({
      testChannel: { ok: true, error: null },
    });
    expect(receiver.received[0]?.headers).toMatchObject({ 'x-gotify-key': 'the-token' });
    receiver.answer = 500;
    const { testChannel } = await client.request(api.TestChannelDocument, { id: made.id });
    expect(testChannel).toMatchObject({ ok: false, error: { code: 'NOTIFICATION_FAILED' } });
    const { channels } = await client.request(api.ChannelsDocument);
    expect(channels).toMatchObject([{ id: made.id, lastError: expect.stringContaining('500') }]);
    expect(JSON.stringify([made, updateChannel, testChannel, channels])).not.toMatch(/the-token|the-query/);
    await client.request(api.DeleteChannelDocument, { id: made.id });
    expect(await client.request(api.ChannelsDocument)).toEqual({ channels: [] });
  });

  it.each([
    ['no kind', '{target: "https://example.org/x"}', 'BAD_USER_INPUT', 'kind'],
    ['mail without a mail server', '{kind: EMAIL, target: "a@example.org"}', 'BAD_USER_INPUT', 'kind'],
    ['the metadata service', '{kind: WEBHOOK, target: "http://169.254.169.254/x"}', 'BAD_USER_INPUT', 'target'],
    ['no secret where one is needed', '{kind: PAGERDUTY}', 'BAD_USER_INPUT', 'secret'],
    [
      'a config that is no number',
      '{kind: WEBHOOK, target: "https://x.org/", configIds: ["x"]}',
      'NOT_FOUND',
      'configIds',
    ],
  ])('are refused with %s, naming the field', async (_title, input, code, field) => {
    const { errors } = await send(app, `mutation { createChannel(input: ${input}) { id } }`);
    expect(errors).toMatchObject([{ extensions: { code, field } }]);
  });
});
