import { MAX_PAGE, type Page } from '../core/lists/page.js';
import type { Models } from '../models/index.js';
import type { ConfigNames } from './views.js';

/** The names of all configs, for a list. */
export async function configNames(models: Models): Promise<ConfigNames> {
  const rows = await models.BackupConfig.findAll({ attributes: ['id', 'name'] });
  return new Map(rows.map(({ id, name }) => [id, name]));
}

/** What stands below a list that was cut off. */
export const moreText = (more: boolean) => (more ? '\nThere are more: raise --limit.' : '');

/** Reads page after page until there are enough rows. */
export async function readUpTo<Row>(
  limit: number,
  read: (first: number, after: string | null) => Promise<Page<Row>>,
): Promise<{ rows: Row[]; more: boolean }> {
  const rows: Row[] = [];
  for (let after: string | null = null; ;) {
    const page: Page<Row> = await read(Math.min(MAX_PAGE, limit - rows.length), after);
    rows.push(...page.nodes);
    after = page.cursors.at(-1) ?? null;
    if (!page.hasNextPage || rows.length >= limit) return { rows, more: page.hasNextPage };
  }
}
