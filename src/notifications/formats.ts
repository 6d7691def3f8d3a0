import { createHmac } from 'node:crypto';
import type { Beat, ChannelSettings, Message } from '../core/ports.js';
import type { HttpRequest } from './http.js';
import { escapeHtml } from '../core/text/html.js';
import { filledIn, type TemplateValues } from './template.js';
import { colourOf, type Linked, plainText, upTo } from './text.js';

/** Where services are that have one address for all. */
const TELEGRAM = 'https://api.telegram.org';
export const PAGERDUTY = 'https://events.pagerduty.com';

/** A notice as a service takes it. */
type Format = (
  settings: ChannelSettings,
  notice: Linked,
  message: Pick<Message, 'id' | 'sentAt' | 'installation'>,
) => HttpRequest;
/** A sign of life as a service takes it. */
type BeatFormat = (settings: ChannelSettings, beat: Beat) => HttpRequest;

const json = (url: string, body: unknown, headers: Record<string, string> = {}): HttpRequest => ({
  method: 'POST',
  url,
  headers: { 'Content-Type': 'application/json', ...headers },
  body: JSON.stringify(body),
});

/** The same URL with more behind its path. */
function below(target: string, suffix: string): string {
  const url = new URL(target);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}${suffix}`;
  return url.href;
}

/** What a template can put in; what there is not is empty. */
function valuesOf(notice: Linked, id: string, secret: string): TemplateValues {
  const { event, level, title, message, hint, path, at, cause, link, config } = notice;
  const named = { 'config.id': `${config?.id ?? ''}`, 'config.name': config?.name ?? '' };
  return { id, event, level, title, message, hint, path, at, secret, cause: cause ?? '', link: link ?? '', ...named };
}

/**
 * Ours: the notice as it is, or what the template makes of it. With a secret, `X-Db-Manager-Signature:
 * t=<seconds>,v1=<hex>` is the HMAC-SHA256 of `<seconds>.<body>`, so that a receiver knows who sent it, and when. `X-Db-Manager-Delivery` is the same when it is sent again.
 */
const webhook: Format = ({ target, secret, template }, notice, { id, sentAt }) => {
  const headers = { 'X-Db-Manager-Event': notice.event, 'X-Db-Manager-Delivery': id };
  const plain = json(target, { id, ...notice }, headers);
  const request = template === '' ? plain : { ...plain, body: filledIn(template, valuesOf(notice, id, secret)) };
  if (secret === '') return request;
  const seconds = Math.floor(sentAt.getTime() / 1000);
  const signature = createHmac('sha256', secret).update(`${seconds}.${request.body}`).digest('hex');
  return { ...request, headers: { ...request.headers, 'X-Db-Manager-Signature': `t=${seconds},v1=${signature}` } };
};

/** https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: & < > are escaped, a section has 3,000 characters. */
const slack: Format = ({ target }, notice) => {
  const plain = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
  // What is escaped counts as it is written; half an escape is left out.
  const body = upTo(2_900, plain(plainText(notice))).replace(/&\w*…$/, '…');
  const title = upTo(150, notice.title);
  return json(target, {
    text: plain(notice.title),
    blocks: [
      { type: 'header', text: { type: 'plain_text', text: title } },
      { type: 'section', text: { type: 'mrkdwn', text: body } },
    ],
  });
};

/** https://discord.com/developers/docs/resources/webhook#execute-webhook: an embed; no one is mentioned by what a text says. */
const discord: Format = ({ target }, notice) =>
  json(target, {
    embeds: [
      {
        title: upTo(256, notice.title),
        description: upTo(4_000, plainText({ ...notice, link: null })),
        color: Number.parseInt(colourOf(notice).slice(1), 16),
        timestamp: notice.at,
        ...(notice.link !== null && { url: notice.link }),
      },
    ],
    allowed_mentions: { parse: [] },
  });

/** https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using: an adaptive card. */
const teams: Format = ({ target }, notice) =>
  json(target, {
    type: 'message',
    attachments: [
      {
        contentType: 'application/vnd.microsoft.card.adaptive',
        content: {
          $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
          type: 'AdaptiveCard',
          version: '1.4',
          body: [
            {
              ...{ type: 'TextBlock', size: 'Medium', weight: 'Bolder', text: notice.title, wrap: true },
              color: { PROBLEM: 'Attention', GOOD: 'Good', INFO: 'Default' }[notice.level],
            },
            { type: 'TextBlock', text: upTo(4_000, plainText({ ...notice, link: null })), wrap: true },
          ],
          actions:
            notice.link === null ? [] : [{ type: 'Action.OpenUrl', title: 'Open in db-manager', url: notice.link }],
        },
      },
    ],
  });

/** https://core.telegram.org/bots/api#sendmessage: up to 4,096 characters. */
const telegram: Format = ({ target, secret }, notice) =>
  json(`${TELEGRAM}/bot${secret}/sendMessage`, {
    chat_id: target,
    parse_mode: 'HTML',
    text: `<b>${escapeHtml(upTo(200, notice.title))}</b>\n${escapeHtml(upTo(3_000, plainText(notice)))}`,
    link_preview_options: { is_disabled: true },
  });

/** https://docs.ntfy.sh/publish/#publish-as-json: to the server itself, with the topic inside. */
const ntfy: Format = ({ target, secret }, notice) => {
  const [, folder = '', topic = ''] = /^(.*)\/([^/]+)\/?$/.exec(new URL(target).pathname) ?? [];
  return json(
    `${new URL(target).origin}${folder}/`,
    {
      topic: decodeURIComponent(topic),
      title: notice.title,
      message: upTo(3_500, plainText({ ...notice, link: null })),
      priority: notice.level === 'PROBLEM' ? 4 : 3,
      tags: [{ PROBLEM: 'rotating_light', GOOD: 'white_check_mark', INFO: 'information_source' }[notice.level]],
      ...(notice.link !== null && { click: notice.link }),
    },
    secret === '' ? {} : { Authorization: `Bearer ${secret}` },
  );
};

/** https://gotify.net/docs/pushmsg and https://gotify.net/docs/msgextras. */
const gotify: Format = ({ target, secret }, notice) =>
  json(
    below(target, '/message'),
    {
      title: notice.title,
      message: plainText({ ...notice, link: null }),
      priority: notice.level === 'PROBLEM' ? 8 : 4,
      extras: {
        'client::display': { contentType: 'text/plain' },
        ...(notice.link !== null && { 'client::notification': { click: { url: notice.link } } }),
      },
    },
    { 'X-Gotify-Key': secret },
  );

/**
 * https://developer.pagerduty.com/docs/events-api-v2-overview: a problem triggers, its end resolves, by the same key. What is
 * no problem is an event of severity info.
 */
const pagerduty: Format = ({ target, secret }, notice, { id, installation }) =>
  json(below(target === '' ? PAGERDUTY : target, '/v2/enqueue'), {
    routing_key: secret,
    event_action: notice.event === 'RECOVERED' ? 'resolve' : 'trigger',
    dedup_key: `db-manager:${installation}:${notice.cause ?? id}`,
    payload: {
      summary: upTo(1_024, `${notice.title}: ${notice.message}`),
      source: notice.config?.name ?? 'db-manager',
      severity: notice.level === 'PROBLEM' ? 'critical' : 'info',
      timestamp: notice.at,
      custom_details: { event: notice.event, message: notice.message, hint: notice.hint },
    },
    ...(notice.link !== null && { links: [{ href: notice.link, text: 'Open in db-manager' }] }),
  });

/** https://healthchecks.io/docs/http_api/: start, success and fail; nothing is sent along. */
const heartbeat: BeatFormat = ({ target }, { state }) => ({
  method: 'GET',
  url: { STARTED: below(target, '/start'), DONE: target, FAILED: below(target, '/fail') }[state],
  headers: {},
  body: '',
});

/** https://github.com/louislam/uptime-kuma/wiki/API-Documentation: /api/push/<token>?status=up&msg=…; it knows no start. */
const uptimeKuma: BeatFormat = ({ target }, { state, runId }) => {
  const url = new URL(target);
  url.searchParams.set('status', state === 'DONE' ? 'up' : 'down');
  url.searchParams.set('msg', state === 'DONE' ? `OK ${runId}` : `Backup failed: ${runId}`);
  return { method: 'GET', url: url.href, headers: {}, body: '' };
};

/** How each service that is spoken to over HTTP takes a notice. */
export const FORMATS = {
  WEBHOOK: webhook,
  SLACK: slack,
  DISCORD: discord,
  TEAMS: teams,
  TELEGRAM: telegram,
  NTFY: ntfy,
  GOTIFY: gotify,
  PAGERDUTY: pagerduty,
} as const;

/** How each service that waits for signs of life takes one. */
export const BEATS = { HEARTBEAT: heartbeat, UPTIME_KUMA: uptimeKuma } as const;
