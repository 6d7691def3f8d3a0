import { QueryTypes } from 'sequelize';
import type { Models } from '../../models/index.js';
import { KIT_MADE } from '../audit.js';
import { firstOf } from '../text/format.js';
import { NEWEST_COMPLETED } from './config-states.js';
import type { HealthReason } from './health.js';

/** No row has it; a list must not be empty. */
const NONE = 0;

/** A newest backup that the kit leads nowhere with: no key of it is named there, or no place in which it lies. */
const OUTSIDE = `
  SELECT n.name FROM (SELECT c.id, c.name, ${NEWEST_COMPLETED} AS "backupId" FROM backup_configs c) n
  WHERE n."backupId" IS NOT NULL AND (
    (EXISTS (SELECT 1 FROM backup_keys k WHERE k."backupId" = n."backupId")
      AND NOT EXISTS (SELECT 1 FROM backup_keys k WHERE k."backupId" = n."backupId" AND k."keyId" IN (:keys)))
    OR NOT EXISTS (
      SELECT 1 FROM stored_objects o
      WHERE o."backupId" = n."backupId" AND o.status = 'COMPLETED' AND o."destinationId" IN (:destinations)))
  ORDER BY n.id`;

/** What to know of the newest recovery kit: that the newest backups of some configs do not open with what it names. */
export async function kitNotices({ sequelize, AuditEvent }: Models): Promise<HealthReason[]> {
  const kit = await AuditEvent.findOne({ where: { action: KIT_MADE }, order: [['id', 'DESC']] });
  if (kit === null) return [];
  const { keys = [], destinations = [] } = kit.details as { keys?: number[]; destinations?: number[] };
  const replacements = { keys: [NONE, ...keys], destinations: [NONE, ...destinations] };
  const outside = await sequelize.query<{ name: string }>(OUTSIDE, { type: QueryTypes.SELECT, replacements });
  if (outside.length === 0) return [];
  const names = firstOf(outside.map(({ name }) => `"${name}"`));
  const message =
    `The recovery kit made at ${kit.at.toISOString()} does not lead to the newest backup of ${names}: ` +
    'its key or its destination is not named in it.';
  const hint = 'Make a new kit: `db-manager recovery-kit --out kit.zip`, or the button on Destinations.';
  return [{ level: 'OK', code: 'KIT_OUTDATED', message, hint, configId: null }];
}
