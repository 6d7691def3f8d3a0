import type {
  ChannelInput,
  ChannelKind,
  ChannelPartsFragment,
  NotificationEvent,
} from '../client/generated/graphql.js';

/** A kind of channel as its form shows it. */
export interface Kind {
  label: string;
  /** Null: it needs none. */
  target: { label: string; description?: string; placeholder?: string; isShown?: boolean } | null;
  secret?: { label: string; description?: string; required?: boolean };
  /** It is told of each backup of one config, and has no events. */
  beats?: boolean;
}

const url = (description: string, placeholder = 'https://…') => ({ label: 'URL', description, placeholder });

/** By kind, the most usual first. */
export const KINDS: Record<ChannelKind, Kind> = {
  EMAIL: {
    label: 'E-mail',
    target: { label: 'Addresses', placeholder: 'ops@example.org, admin@example.org', isShown: true },
  },
  SLACK: { label: 'Slack', target: url('Of an incoming webhook.', 'https://hooks.slack.com/services/…') },
  TEAMS: { label: 'Microsoft Teams', target: url('Of a workflow that posts to a channel.') },
  DISCORD: { label: 'Discord', target: url('Of a webhook.', 'https://discord.com/api/webhooks/…') },
  TELEGRAM: {
    label: 'Telegram',
    target: { label: 'Chat ID', placeholder: '-1001234567890', isShown: true },
    secret: { label: 'Token of the bot', required: true },
  },
  NTFY: {
    label: 'ntfy',
    target: url('Of a topic.', 'https://ntfy.sh/my-topic'),
    secret: { label: 'Access token', description: 'Optional.' },
  },
  GOTIFY: {
    label: 'Gotify',
    target: url('Of the server.'),
    secret: { label: 'Token of the application', required: true },
  },
  PAGERDUTY: {
    label: 'PagerDuty',
    target: null,
    secret: { label: 'Integration key', description: 'Of an integration with the Events API v2.', required: true },
  },
  WEBHOOK: {
    label: 'Webhook (JSON)',
    target: url('Gets a POST for each message.'),
    secret: { label: 'Signing secret', description: 'Optional: requests are then signed with it.' },
  },
  HEARTBEAT: {
    label: 'Heartbeat (healthchecks.io)',
    target: url('The ping URL of a check.', 'https://hc-ping.com/…'),
    beats: true,
  },
  UPTIME_KUMA: {
    label: 'Heartbeat (Uptime Kuma)',
    target: url('The push URL of a monitor.', 'https://…/api/push/…'),
    beats: true,
  },
};

/** What people read for the events, in the order in which they are offered. */
export const EVENTS: Record<NotificationEvent, string> = {
  BACKUP_FAILED: 'Backup failed',
  BACKUP_LATE: 'Backup is late',
  BACKUP_SUSPICIOUS: 'Backup is suspicious',
  VERIFICATION_FAILED: 'Backup is not verified',
  COPY_MISSING: 'Copy is missing',
  DISK_LOW: 'Little space left',
  STORAGE_UNAVAILABLE: 'Destination cannot be reached',
  RESTORE_FAILED: 'Restore failed',
  CHANNEL_FAILED: 'Another channel fails',
  RECOVERED: 'Problem is over',
  DELETION_PLANNED: 'Backups are about to be deleted',
  RESTORE_DONE: 'Restore completed',
  BACKUP_DONE: 'Backup completed',
  DRILL_DONE: 'Drill passed',
  FIRST_SUCCESS: 'First backup completed',
  WEEKLY_DIGEST: 'Weekly digest',
};

const ALL = Object.keys(EVENTS) as NotificationEvent[];

/** What a new channel is told of: every problem, and its end. */
export const PROBLEMS = ALL.slice(0, ALL.indexOf('RECOVERED') + 1);

/** Whose signs of life a heartbeat can get. */
export const BEATS = { BACKUP_DONE: 'Each backup', DRILL_DONE: 'Each drill' } as const;
export const beatOf = (events: readonly NotificationEvent[]): keyof typeof BEATS =>
  events.includes('DRILL_DONE') && !events.includes('BACKUP_DONE') ? 'DRILL_DONE' : 'BACKUP_DONE';

/** What is typed into the form of a channel. */
export interface Typed {
  kind: ChannelKind;
  name: string;
  target: string;
  secret: string;
  template: string;
  events: NotificationEvent[];
  configIds: string[];
}

/** The form of a saved channel, or of a new one. What is secret is not shown: an empty one stays as it is. */
export function typedOf(channel: ChannelPartsFragment | null): Typed {
  if (channel === null) {
    return { kind: 'EMAIL', name: '', target: '', secret: '', template: '', events: PROBLEMS, configIds: [] };
  }
  const { kind, name, template, events, configIds } = channel;
  const target = KINDS[kind].target?.isShown === true ? channel.target : '';
  const kept = { events: [...events], configIds: [...configIds] };
  return { kind, name, target, secret: '', template: template ?? '', ...kept };
}

/** The form with another kind: its events are those that such a channel begins with. */
export const ofKind = (typed: Typed, kind: ChannelKind): Typed =>
  KINDS[typed.kind].beats === KINDS[kind].beats
    ? { ...typed, kind }
    : { ...typed, kind, events: KINDS[kind].beats ? [] : PROBLEMS };

/** What is typed as the API takes it. */
export function inputOf(
  { kind, name, target, secret, template, events, configIds }: Typed,
  isNew: boolean,
): ChannelInput {
  return {
    ...(isNew && { kind }),
    name: name.trim() || undefined,
    target: target.trim() || undefined,
    secret: secret || undefined,
    ...(kind === 'WEBHOOK' && { template: template.trim() }),
    events: KINDS[kind].beats ? [beatOf(events)] : events,
    configIds,
  };
}
