import type { Actor, Auth } from '../auth/index.js';
import { requireAdmin } from '../auth/index.js';
import type { Audit } from '../core/audit.js';
import type { Backups } from '../core/backups/backups.js';
import type { Copies } from '../core/backups/copies.js';
import type { Browser } from '../core/discovery/browse.js';
import type { Cleanup } from '../core/retention/cleanup.js';
import type { Servers } from '../core/configs/server.js';
import type { ConfigTests } from '../core/configs/trials.js';
import type { Destinations } from '../core/destinations/destinations.js';
import type { Configs } from '../core/configs/configs.js';
import type { ConfigHealth, StorageUsage } from '../core/status/health.js';
import type { Channels } from '../core/notifications/channels.js';
import type { Overview } from '../core/status/overview.js';
import type { Places } from '../core/configs/places.js';
import type { Keys } from '../core/keys/keys.js';
import type { Engines, StorageAddress } from '../core/ports.js';
import type { Insight } from '../core/insight/insight.js';
import type { Restores } from '../core/restores/restores.js';
import type { Verifications } from '../core/verifications/verifications.js';
import type { Log } from '../log.js';
import type { BackupConfigRow, BackupRow, DestinationRow, EncryptionKeyRow, Models } from '../models/index.js';
import { batched } from './loader.js';

/** The parts of the product that resolvers call. */
export interface Services {
  log: Log;
  models: Models;
  engines: Engines;
  places: Places;
  auth: Auth;
  audit: Audit;
  backups: Backups;
  copies: Copies;
  restores: Restores;
  verifications: Verifications;
  insight: Insight;
  configs: Configs;
  configTests: ConfigTests;
  servers: Servers;
  destinations: Destinations;
  keys: Keys;
  browser: Browser;
  cleanup: Cleanup;
  overview: Overview;
  channels: Channels;
  /** Facts about this process that do not change. */
  about: {
    version: string;
    startedAt: Date;
    /** The database of the sample application, whether there is one or not. */
    sampleUrl: string;
    controlDatabase: 'SQLITE' | 'POSTGRES';
    /** As `Environment.basePath`. */
    basePath: string;
    jobStore: 'CONTROL_DATABASE' | 'MONGODB' | 'POSTGRES' | 'MONGODB_MEMORY';
  };
  now: () => Date;
  /** Aborts when the process must stop. */
  stopping: AbortSignal;
}

/** What one operation has to work with; resolvers get it, nothing global exists. */
export interface GraphqlContext {
  services: Services;
  /** Where the request comes from. */
  address: string;
  /** Aborts when the caller is gone or the process must stop. */
  signal: AbortSignal;
  /** The admin that asks. @throws AppError UNAUTHENTICATED, FORBIDDEN */
  admin(): Promise<Actor>;
  /** Makes sure that a person has just typed their password, where the server asks for that. @throws AppError */
  confirmed(): Promise<void>;
  /** Records by id, read together for all that one answer needs. */
  load: {
    config(id: number): Promise<BackupConfigRow | null>;
    backup(id: string): Promise<BackupRow | null>;
    configHealth(id: number): Promise<ConfigHealth | null>;
    /** Of the destination with this id; null if it has no archives. */
    usage(id: number): Promise<StorageUsage | null>;
    /** The encryption keys of a config, and of a backup; null if it has none. */
    configKeys(id: number): Promise<{ keys: EncryptionKeyRow[] } | null>;
    backupKeys(id: string): Promise<{ keys: EncryptionKeyRow[] } | null>;
    /** The destination at an address, by its `placeKey`. */
    destination(key: string): Promise<{ row: DestinationRow } | null>;
    destinationById(id: number): Promise<{ row: DestinationRow } | null>;
  };
}

/** Names the place of a config, or of a destination. */
export const placeKey = ({ storageType, storagePath }: StorageAddress) => `${storageType} ${storagePath}`;

/**
 * @param authenticate asked each time that a guard stands in the way
 * @param caller `signal` is that of a `Waiting`, which the answer ends; `confirmation` that the request carries
 */
export function createContext(
  services: Services,
  authenticate: () => Promise<Actor>,
  { address, signal, confirmation }: { address: string; signal: AbortSignal; confirmation?: string | undefined },
): GraphqlContext {
  const { models } = services;
  return {
    services,
    address,
    signal,
    admin: async () => requireAdmin(await authenticate(), null),
    confirmed: async () => services.auth.assertConfirmed(await authenticate(), confirmation),
    load: {
      config: batched((id) => models.BackupConfig.findAll({ where: { id } })),
      backup: batched((id) => models.Backup.findAll({ where: { id } })),
      configHealth: batched(async (ids) =>
        (await services.overview.configs(ids)).map((state) => ({ id: state.config.id, ...state })),
      ),
      configKeys: batched((ids) => services.keys.ofConfigs(ids)),
      backupKeys: batched((ids) => services.keys.ofBackups(ids)),
      usage: batched(() => services.overview.usage()),
      destinationById: batched(async () => (await services.destinations.list()).map((row) => ({ id: row.id, row }))),
      destination: batched(async () => (await services.destinations.list()).map((row) => ({ id: placeKey(row), row }))),
    },
  };
}
