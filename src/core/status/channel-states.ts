import { Op } from 'sequelize';
import type { Models } from '../../models/index.js';
import type { HealthReason } from './health.js';

/** The channels whose last message did not arrive, and those whose target was lost with the secrets key. */
export async function channelReasons({ Channel }: Models): Promise<HealthReason[]> {
  const where = { [Op.or]: [{ lastError: { [Op.ne]: null } }, { sealed: null }] };
  const failing = await Channel.findAll({ where, order: [['id', 'ASC']] });
  return failing.map(({ id, name, lastError = null }) => ({
    level: 'WARNING' as const,
    code: 'CHANNEL_FAILED' as const,
    message: `Messages do not reach the channel "${name}": ${lastError ?? 'its target was lost.'}`,
    hint: `Correct its target or its secret, then test it: testChannel, or \`db-manager channels test ${id}\`.`,
    configId: null,
    channelId: id,
  }));
}
