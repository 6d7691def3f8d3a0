import { Op } from 'sequelize';
import type { Models } from '../../models/index.js';
import type { HealthReason } from './health.js';

/** The channels whose last message did not arrive. */
export async function channelReasons({ Channel }: Models): Promise<HealthReason[]> {
  const failing = await Channel.findAll({ where: { lastError: { [Op.ne]: null } }, order: [['id', 'ASC']] });
  return failing.map(({ id, name, lastError }) => ({
    level: 'WARNING' as const,
    code: 'CHANNEL_FAILED' as const,
    message: `Messages do not reach the channel "${name}": ${lastError}`,
    hint: `Correct its target or its secret, then test it: testChannel, or \`db-manager channels test ${id}\`.`,
    configId: null,
  }));
}
