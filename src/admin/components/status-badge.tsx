import { Badge } from '@mantine/core';
import type { BackupStatus, Health, RestoreStatus, StatusQuery } from '../../client/generated/graphql.js';
import { HEALTH, STATUS } from '../words.js';

/** How far a run is, in a word and a colour. */
export function StatusBadge({ status }: { status: BackupStatus | RestoreStatus }) {
  const { label, color } = STATUS[status];
  return (
    <Badge color={color} variant="light" miw="max-content">
      {label}
    </Badge>
  );
}

/** How a config is doing, in a word and a colour. */
export function HealthBadge({ health }: { health: Health }) {
  const { label, color } = HEALTH[health];
  return (
    <Badge color={color} variant="light" miw="max-content">
      {label}
    </Badge>
  );
}

export type Status = StatusQuery['status'];

/** The worst that the state says of a config. */
export function healthOf(status: Status, id: string): Health {
  const levels = status.reasons.filter(({ configId }) => configId === id).map(({ level }) => level);
  return levels.includes('CRITICAL') ? 'CRITICAL' : levels.includes('WARNING') ? 'WARNING' : 'OK';
}
