import { describe, expect, it } from '@jest/globals';
import { createHmac } from 'node:crypto';
import type { Beat, ChannelKind } from '../../src/core/ports.js';
import { BEATS, FORMATS } from '../../src/notifications/formats.js';
import { BEAT_KINDS } from '../../src/models/index.js';
import type { Linked } from '../../src/notifications/text.js';

const notice: Linked = {
  event: 'BACKUP_FAILED',
  level: 'PROBLEM',
  title: 'Backup failed: Shop <1> & co',
  message: 'The disk is full. (STORAGE_FULL) @everyone <script>',
  hint: 'Free space.',
  config: { id: 1, name: 'Shop <1> & co' },
  cause: 'BACKUP_FAILED:1:STORAGE_FULL',
  path: '/backups/b1',
  link: 'https://backups.example.org/backups/b1',
  at: '2026-11-27T03:00:00.000Z',
};
const recovered: Linked = { ...notice, event: 'RECOVERED', level: 'GOOD', title: `Recovered: ${notice.title}` };
const head = { id: '7', sentAt: new Date('2026-11-27T03:00:01.900Z'), installation: 'a1b2' };

function send(kind: keyof typeof FORMATS, target: string, secret = '', given: Linked = notice, template = '') {
  const settings = { kind: kind as ChannelKind, target, secret, template };
  const { body, ...request } = FORMATS[kind](settings, given, head);
  return { ...request, body, json: JSON.parse(body) as Record<string, unknown> };
}

const JSON_TYPE = { 'Content-Type': 'application/json' };

describe('A notice', () => {
  it('goes to a webhook as it is, signed over time and body with the secret', () => {
    const { headers, json, body, url } = send('WEBHOOK', 'https://example.org/hook?x=1', 'a key');
    expect(url).toBe('https://example.org/hook?x=1');
    expect(json).toEqual({ id: '7', ...notice });
    const signature = createHmac('sha256', 'a key').update(`1795748401.${body}`).digest('hex');
    expect(headers).toEqual({
      ...JSON_TYPE,
      'X-Db-Manager-Event': 'BACKUP_FAILED',
      'X-Db-Manager-Delivery': '7',
      'X-Db-Manager-Signature': `t=1795748401,v1=${signature}`,
    });
  });

  it('goes to a webhook without a signature if there is no secret', () => {
    expect(send('WEBHOOK', 'https://example.org/hook').headers).not.toHaveProperty('X-Db-Manager-Signature');
  });

  it('goes to a webhook in the form of its template, and cannot break out of that', () => {
    const odd = { ...notice, title: 'A "quote", {{secret}} and \\', config: null, link: null };
    const template =
      '{"key":"{{secret}}","text":"{{ title }}: {{config.name}}{{link}}.","list":[{"at":"{{at}}"},1,null]}';
    expect(send('WEBHOOK', 'https://example.org/hook', 'a key', odd, template).json).toEqual({
      key: 'a key',
      text: `${odd.title}: .`,
      list: [{ at: notice.at }, 1, null],
    });
  });

  it('goes to Slack as a header and a section, with & < > escaped', () => {
    const { json } = send('SLACK', 'https://hooks.slack.com/services/T/B/x');
    expect(json).toEqual({
      text: 'Backup failed: Shop &lt;1&gt; &amp; co',
      blocks: [
        { type: 'header', text: { type: 'plain_text', text: notice.title } },
        {
          type: 'section',
          text: {
            type: 'mrkdwn',
            text: `The disk is full. (STORAGE_FULL) @everyone &lt;script&gt;\n\nWhat to do: Free space.\n\n${notice.link}`,
          },
        },
      ],
    });
  });

  it('goes to Discord as an embed that mentions no one', () => {
    const { json } = send('DISCORD', 'https://discord.com/api/webhooks/1/x');
    expect(json).toEqual({
      embeds: [
        {
          title: notice.title,
          description: `${notice.message}\n\nWhat to do: Free space.`,
          color: 0xc92a2a,
          timestamp: notice.at,
          url: notice.link,
        },
      ],
      allowed_mentions: { parse: [] },
    });
  });

  it('goes to Teams as an adaptive card with a button', () => {
    const { json } = send('TEAMS', 'https://prod-1.westeurope.logic.azure.com/workflows/x?sig=y');
    expect(json).toMatchObject({
      type: 'message',
      attachments: [
        {
          contentType: 'application/vnd.microsoft.card.adaptive',
          content: {
            type: 'AdaptiveCard',
            version: '1.4',
            body: [
              { type: 'TextBlock', text: notice.title, color: 'Attention' },
              { type: 'TextBlock', text: `${notice.message}\n\nWhat to do: Free space.`, wrap: true },
            ],
            actions: [{ type: 'Action.OpenUrl', url: notice.link }],
          },
        },
      ],
    });
  });

  it('goes to Telegram as HTML of the bot, with markup in texts escaped', () => {
    const { url, json } = send('TELEGRAM', '-100123', '12:bot');
    expect(url).toBe('https://api.telegram.org/bot12:bot/sendMessage');
    expect(json).toMatchObject({ chat_id: '-100123', parse_mode: 'HTML', link_preview_options: { is_disabled: true } });
    expect(json.text).toContain('<b>Backup failed: Shop &lt;1&gt; &amp; co</b>\nThe disk is full.');
    expect(json.text).toContain('&lt;script&gt;');
  });

  it.each([
    ['https://ntfy.sh/alerts', 'https://ntfy.sh/', 'alerts'],
    ['https://example.org/ntfy/my%20topic/', 'https://example.org/ntfy/', 'my topic'],
  ])('goes to ntfy %s as JSON for its server, with the topic inside', (target, url, topic) => {
    const request = send('NTFY', target, 'tk_1');
    expect(request.url).toBe(url);
    expect(request.headers).toEqual({ ...JSON_TYPE, Authorization: 'Bearer tk_1' });
    expect(request.json).toEqual({
      topic,
      title: notice.title,
      message: `${notice.message}\n\nWhat to do: Free space.`,
      priority: 4,
      tags: ['rotating_light'],
      click: notice.link,
    });
  });

  it('goes to Gotify with the token in a header and as plain text', () => {
    const { url, headers, json } = send('GOTIFY', 'https://example.org/gotify/', 'token');
    expect(url).toBe('https://example.org/gotify/message');
    expect(headers).toEqual({ ...JSON_TYPE, 'X-Gotify-Key': 'token' });
    expect(json).toMatchObject({
      title: notice.title,
      priority: 8,
      extras: {
        'client::display': { contentType: 'text/plain' },
        'client::notification': { click: { url: notice.link } },
      },
    });
  });

  it('triggers at PagerDuty, and its end resolves the same incident', () => {
    const { url, json } = send('PAGERDUTY', '', 'R0');
    expect(url).toBe('https://events.pagerduty.com/v2/enqueue');
    expect(json).toMatchObject({
      routing_key: 'R0',
      event_action: 'trigger',
      dedup_key: 'db-manager:a1b2:BACKUP_FAILED:1:STORAGE_FULL',
      payload: { source: notice.config?.name, severity: 'critical', timestamp: notice.at },
      links: [{ href: notice.link }],
    });
    const resolved = send('PAGERDUTY', 'https://events.eu.pagerduty.com', 'R0', recovered);
    expect(resolved.url).toBe('https://events.eu.pagerduty.com/v2/enqueue');
    expect(resolved.json).toMatchObject({ event_action: 'resolve', dedup_key: json.dedup_key });
  });

  it('is cut to what each service takes when it is very long', () => {
    const long = { ...notice, title: 'T'.repeat(5_000), message: '<'.repeat(50_000) };
    const { blocks } = send('SLACK', 'https://example.org/x', '', long).json as {
      blocks: { text: { text: string } }[];
    };
    expect(blocks.map(({ text: { text } }) => text.length)).toEqual([150, expect.any(Number)]);
    expect(blocks[1]?.text.text.length).toBeLessThanOrEqual(3_000);
    expect(blocks[1]?.text.text).toMatch(/(&lt;)+…$/);
    const { embeds } = send('DISCORD', 'https://example.org/x', '', long).json as { embeds: Record<string, string>[] };
    expect([embeds[0]?.title?.length, embeds[0]?.description?.length]).toEqual([256, 4_000]);
    const text = (send('TELEGRAM', '1', 'x', long).json.text as string).replaceAll('&lt;', '<');
    expect(text.length).toBeLessThan(4_096);
    expect((send('PAGERDUTY', '', 'x', long).json.payload as { summary: string }).summary.length).toBe(1_024);
  });
});

describe('A sign of life', () => {
  it('goes to exactly the kinds that get no messages', () => {
    expect(Object.keys(BEATS)).toEqual([...BEAT_KINDS]);
  });

  const beat = (kind: keyof typeof BEATS, target: string, state: Beat['state']) =>
    BEATS[kind]({ kind, target, secret: '', template: '' }, { state, runId: 'b1' });

  it.each([
    ['STARTED', 'https://hc-ping.com/uuid/start'],
    ['DONE', 'https://hc-ping.com/uuid'],
    ['FAILED', 'https://hc-ping.com/uuid/fail'],
  ] as const)('of a backup that has %s goes to healthchecks.io without a body', (state, url) => {
    expect(beat('HEARTBEAT', 'https://hc-ping.com/uuid', state)).toEqual({ method: 'GET', url, headers: {}, body: '' });
  });

  it('goes to Uptime Kuma as up or down, in place of what its URL says', () => {
    const url = 'https://kuma.example.org/api/push/tok?status=up&msg=OK&ping=';
    const sent = ['DONE', 'FAILED'].map((state) => new URL(beat('UPTIME_KUMA', url, state as Beat['state']).url));
    expect(sent.map(({ searchParams }) => searchParams.get('status'))).toEqual(['up', 'down']);
    expect(sent.map(({ pathname }) => pathname)).toEqual(['/api/push/tok', '/api/push/tok']);
  });
});
