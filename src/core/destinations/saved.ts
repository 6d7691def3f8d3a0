import type { Models } from '../../models/index.js';
import type { SettingValue, StorageAddress, StorageKind, StorageSettings, StorageType } from '../ports.js';
import type { Secrets } from '../secrets.js';

/**
 * How the storage at an address is reached: as the environment says, if it names that place, otherwise as its destination was
 * saved. Null if neither says it.
 * @param fromEnvironment the environment's own destination and its address
 * @throws AppError CONFIG_INVALID if its secrets do not open
 */
export async function savedSettings(
  { models, secrets }: { models: Models; secrets: Secrets },
  { storageType, storagePath }: StorageAddress,
  fromEnvironment: { address: StorageAddress; settings: StorageSettings } | null,
): Promise<StorageSettings | null> {
  const named = fromEnvironment?.address;
  if (named?.storageType === storageType && named.storagePath === storagePath) return fromEnvironment?.settings ?? null;
  const row = await models.Destination.findOne({ where: { storageType, storagePath, deletedAt: null } });
  if (row === null || row.settings === null) return null;
  return {
    storageType,
    settings: row.settings as Record<string, SettingValue>,
    secrets: row.secrets === null ? {} : await secrets.open(row.secrets),
  };
}

/** Values of a kind of storage, the secrets apart from the settings. */
export function settingsOf(
  { secrets: names }: StorageKind,
  storageType: StorageType,
  values: Record<string, SettingValue>,
): StorageSettings {
  const entries = Object.entries(values);
  const secrets = entries.filter(([name]) => names.includes(name)) as [string, string][];
  const settings = entries.filter(([name]) => !names.includes(name));
  return { storageType, settings: Object.fromEntries(settings), secrets: Object.fromEntries(secrets) };
}
