import { readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { buildSchema, type GraphQLEnumType } from 'graphql';
import { EVENTS, inputOf, KINDS, ofKind, PROBLEMS, typedOf } from '../../src/admin/channels.js';
import { PROBLEM_EVENTS } from '../../src/core/notifications/notices.js';

const schema = buildSchema(await readFile(new URL('../../schema/schema.graphql', import.meta.url), 'utf8'));
const valuesOf = (name: string) => (schema.getType(name) as GraphQLEnumType).getValues().map((value) => value.name);

describe('The form of a channel', () => {
  it('offers every kind and every event, with the events of a new channel as the server has them', () => {
    expect(Object.keys(KINDS).sort()).toEqual(valuesOf('ChannelKind').sort());
    expect(Object.keys(EVENTS)).toEqual(valuesOf('NotificationEvent'));
    expect(PROBLEMS).toEqual(PROBLEM_EVENTS);
  });

  it('keeps a target and a secret that are not typed again', () => {
    const saved = { id: '1', name: 'Chat', target: 'https://hooks.slack.com/…', waiting: 0, lastDeliveryAt: null };
    const channel = {
      ...saved,
      kind: 'SLACK' as const,
      template: null,
      events: PROBLEMS,
      configIds: ['2'],
      lastError: null,
    };
    const typed = typedOf(channel);
    expect(typed).toMatchObject({ target: '', secret: '' });
    expect(inputOf({ ...typed, events: ['RECOVERED'] }, false)).toEqual({
      name: 'Chat',
      target: undefined,
      secret: undefined,
      events: ['RECOVERED'],
      configIds: ['2'],
    });
  });

  it('shows what is no secret, and sends one event for a heartbeat', () => {
    const mail = {
      id: '1',
      name: 'Mail',
      kind: 'EMAIL' as const,
      target: 'a@b',
      template: null,
      events: PROBLEMS,
      configIds: [],
    };
    expect(typedOf({ ...mail, waiting: 0, lastDeliveryAt: null, lastError: null })).toMatchObject({ target: 'a@b' });
    const typed = { ...ofKind(typedOf(null), 'HEARTBEAT'), target: ' https://hc-ping.com/x ', configIds: ['1'] };
    expect(inputOf(typed, true)).toEqual({
      kind: 'HEARTBEAT',
      name: undefined,
      target: 'https://hc-ping.com/x',
      secret: undefined,
      events: ['BACKUP_DONE'],
      configIds: ['1'],
    });
    expect(inputOf({ ...typed, events: ['DRILL_DONE'] }, true)).toMatchObject({ events: ['DRILL_DONE'] });
    expect(ofKind(typed, 'EMAIL').events).toEqual(PROBLEMS);
    expect(ofKind(typed, 'UPTIME_KUMA')).toEqual({ ...typed, kind: 'UPTIME_KUMA' });
  });
});
