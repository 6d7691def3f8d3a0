import type { BackupRow, Models } from '../../models/index.js';
import { parentsOf } from '../archives/chains.js';
import type { Reading } from '../archives/stored-archive.js';
import type { Keys } from '../keys/keys.js';

/** What opening a backup needs of the process around it. */
interface ReadingEnvironment {
  models: Models;
  keys: Keys;
}

/**
 * How a backup and what it builds on are opened.
 * @param identity opens them if they are sealed; undefined: the keys that are held here do
 */
export function readingOf(
  env: ReadingEnvironment,
  row: BackupRow,
  identity: string | undefined,
): Required<Pick<Reading, 'unseal' | 'parents'>> {
  const unsealOf = ({ id, fileName }: BackupRow) => env.keys.unsealing(fileName, identity, id);
  const parents = async () =>
    (await parentsOf(env.models, row)).map((parent) => ({ row: parent, unseal: unsealOf(parent) }));
  return { unseal: unsealOf(row), parents };
}
