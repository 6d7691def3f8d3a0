import { basename } from 'node:path';
import { Op, type Transaction } from 'sequelize';
import { ARCHIVE_SUFFIX, isSealedName, SEALED_SUFFIX } from '../../archive/format.js';
import type { Models } from '../../models/index.js';
import type { Storage } from '../ports.js';
import { stamp } from '../text/ids.js';

/** The names that an archive may get, the first choice at number 1. */
export type NameSeries = (number: number) => string;

const numbered =
  (start: string, sealed: boolean): NameSeries =>
  (number) =>
    `${start}${number > 1 ? `_${number}` : ''}${sealed ? SEALED_SUFFIX : ARCHIVE_SUFFIX}`;

/** `okpuja_backup_20250724_143022.zip`, then `…_2.zip` and so on; `….zip.age` for a sealed one. */
export const archiveNames = (prefix: string, at: Date, sealed: boolean): NameSeries =>
  numbered(`${prefix}_backup_${stamp(at)}`, sealed);

/** As a client calls the file if that is an archive's name, otherwise as `archiveNames`. */
export function uploadNames(fileName: string, prefix: string, at: Date, sealed: boolean): NameSeries {
  const name = /^([A-Za-z0-9][A-Za-z0-9-]{0,39}_backup_\d{8}_\d{6})(?:_\d+)?\.zip(?:\.age)?$/;
  const given = name.exec(basename(fileName))?.[1];
  return given === undefined ? archiveNames(prefix, at, sealed) : numbered(given, sealed);
}

/** The names of the same series as this one. */
export const seriesOf = (name: string): NameSeries =>
  numbered(name.replace(/(_backup_\d{8}_\d{6})(?:_\d+)?\.zip(?:\.age)?$/, '$1'), isSealedName(name));

/** True for the name of an encrypted archive. */
export { isSealedName as isEncrypted } from '../../archive/format.js';

/** True for a name of `archiveNames`, also while the archive is being written (`.<name>.<run>.partial`). */
export function isArchiveName(name: string): boolean {
  return /_backup_\d{8}_\d{6}(_\d+)?\.zip(\.age)?(\.[^.]+\.partial)?$/.test(name);
}

/**
 * The first number of a series whose name no row has, as far as can be seen now.
 * @param options.from the number to begin with
 * @param options.stored true to ask the storage too: it may hold objects that no row knows
 */
export async function firstFree(
  models: Models,
  storage: Storage,
  nameAt: NameSeries,
  { from = 1, stored = false, transaction }: { from?: number; stored?: boolean; transaction?: Transaction | undefined },
): Promise<number> {
  const first = nameAt(1);
  const suffix = isSealedName(first) ? SEALED_SUFFIX : ARCHIVE_SUFFIX;
  const rows = await models.StoredObject.findAll({
    attributes: ['location'],
    where: {
      location: { [Op.startsWith]: storage.locate(first).slice(0, -suffix.length) },
      status: ['PENDING', 'RUNNING', 'COMPLETED'],
    },
    ...(transaction ? { transaction } : {}),
  });
  const taken = new Set(rows.map((row) => row.location));
  for (let number = from; ; number++) {
    const name = nameAt(number);
    if (taken.has(storage.locate(name))) continue;
    if (!stored || (await storage.stat(name)) === null) return number;
  }
}

/** How archives of a config are named where nothing else was chosen: by its name, as far as a file name can hold it. */
export function prefixFrom(name: string): string | null {
  const plain = name.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
  const prefix = plain
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '');
  return prefix === '' ? null : prefix;
}
