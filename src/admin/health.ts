import type { Health, StatusQuery } from '../client/generated/graphql.js';

export type Status = StatusQuery['status'];

/** The worst that the state says of a config. */
export function healthOf(status: Status, id: string): Health {
  const levels = status.reasons.filter(({ configId }) => configId === id).map(({ level }) => level);
  return levels.includes('CRITICAL') ? 'CRITICAL' : levels.includes('WARNING') ? 'WARNING' : 'OK';
}
