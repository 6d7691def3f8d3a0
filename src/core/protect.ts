import { realpath } from 'node:fs/promises';
import { contained } from '../archive/names.js';
import { realPaths } from '../archive/media.js';
import type { Models } from '../models/index.js';
import { databaseFiles } from './names.js';
import type { Engine } from './ports.js';

/**
 * Paths that are never media, wherever they lie: db-manager's own folders, every folder that archives lie in, and the
 * live database with its companions (which SQLite names after the real file, not after a link to it). They are neither
 * archived nor touched by a restore.
 * @param own db-manager's own folders; absolute
 */
export async function protectedPaths(
  models: Models,
  own: string[],
  database: { engine: Engine; url: string } | null,
): Promise<string[]> {
  const where = { storageType: ['LOCAL', 'SYSTEM'] };
  const attributes = ['storagePath' as const];
  const [backups, configs] = await Promise.all([
    models.Backup.findAll({ attributes, where, group: ['storagePath'] }),
    models.BackupConfig.findAll({ attributes, where, group: ['storagePath'] }),
  ]);
  const file = database === null ? null : database.engine.fileOf(database.url);
  const files = file === null ? [] : [file, await realpath(file).catch(() => file)].flatMap(databaseFiles);
  const storages = [...backups, ...configs].map((row) => row.storagePath);
  return [...(await realPaths([...own, ...storages, ...files]))];
}

/** True if a restore must not write this path: it is a protected one, lies in one, or holds one. */
export function isProtected(protect: string[], path: string): boolean {
  return protect.some((one) => contained(one, path) || contained(path, one));
}
