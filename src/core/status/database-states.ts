import { QueryTypes } from 'sequelize';
import type { Models } from '../../models/index.js';
import { firstOf } from '../text/format.js';
import type { HealthReason } from './health.js';

/** A database that no config backs up, and the config on whose server it is. */
interface Unprotected {
  name: string;
  problem: string | null;
  configId: number;
  config: string;
}

/** As the watch has last found them. Those whose config someone deleted are left alone. */
const unprotected = ({ sequelize }: Models): Promise<Unprotected[]> =>
  sequelize.query<Unprotected>(
    `SELECT d.name, d.problem, c.id AS "configId", c.name AS config
     FROM server_databases d JOIN backup_configs c ON c.id = d."configId"
     WHERE d."foundAt" IS NOT NULL AND d."declinedAt" IS NULL ORDER BY c.id, d.name`,
    { type: QueryTypes.SELECT },
  );

/**
 * What is said of databases that no config backs up: a reason for each that should have been taken in and could not be, and a
 * note for each server that has others.
 */
export async function databaseStates(models: Models): Promise<{ reasons: HealthReason[]; notices: HealthReason[] }> {
  const rows = await unprotected(models);
  const reasons = rows
    .filter(({ problem }) => problem !== null)
    .map(({ name, problem, config, configId }): HealthReason => {
      const message = `The database ${name} on the server of "${config}" is not backed up, although it fits autoInclude: ${problem}`;
      const hint = 'Correct the cause; it is tried again every hour. Or back it up by a config of its own.';
      return { level: 'WARNING', code: 'DATABASE_NOT_INCLUDED', message, hint, configId };
    });
  const others = new Map<number, Unprotected[]>();
  for (const row of rows) {
    if (row.problem === null) others.set(row.configId, [...(others.get(row.configId) ?? []), row]);
  }
  const notices = [...others].map(([configId, databases]): HealthReason => {
    const names = firstOf(databases.map(({ name }) => name));
    const count = databases.length === 1 ? 'a database' : `${databases.length} databases`;
    const message = `The server of "${databases[0]?.config ?? ''}" has ${count} that no config backs up: ${names}.`;
    const hint = `Back them up: \`db-manager protect ${configId} --all\`, or on the config's page. See docs/engines.md.`;
    return { level: 'OK', code: 'DATABASES_UNPROTECTED', message, hint, configId };
  });
  return { reasons, notices };
}
