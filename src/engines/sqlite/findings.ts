import type { Finding } from '../../core/ports.js';

/** A table or index of the schema, as far as naming a finding needs it. */
export interface SchemaName {
  type: string;
  name: string;
  tbl_name: string;
}

/** What one message of `integrity_check` is about. */
type Verdict = Pick<Finding, 'kind'> & { index?: string; table?: string; column?: string };

/**
 * The wording of SQLite's messages about indexes, rows and virtual tables (pragma.c, fts3.c, fts5_main.c, rtree.c). Nothing
 * else is derived or logical: what is not listed here counts as damage to the pages.
 */
const WORDING: [RegExp, (match: string[]) => Verdict][] = [
  [/^row \d+ (?:missing from|values differ from) index (.*)$/s, ([, index]) => ({ kind: 'index', index })],
  [/^rowid not at end-of-record for row \d+ of index (.*)$/s, ([, index]) => ({ kind: 'index', index })],
  [/^(?:non-unique entry|wrong # of entries) in index (.*)$/s, ([, index]) => ({ kind: 'index', index })],
  [/^row not in PRIMARY KEY order for (.*)$/s, ([, table]) => ({ kind: 'index', table })],
  [/^(?:NULL|NUMERIC|TEXT|non-[A-Z]+) value in (.*)$/s, ([, column]) => ({ kind: 'rows', column })],
  [/^CHECK constraint failed in (.*)$/s, ([, table]) => ({ kind: 'rows', table })],
  [/^malformed inverted index for FTS\d table main\.(.*)$/s, ([, table]) => ({ kind: 'virtual', table })],
  [
    /^unable to validate the inverted index for FTS\d table main\.(.*): [^:]*$/s,
    ([, table]) => ({ kind: 'unchecked', table }),
  ],
  [/^In RTree main\.(.*?):\n/s, ([, table]) => ({ kind: 'virtual', table })],
] as [RegExp, (match: string[]) => Verdict][];

/** How many findings of one database are kept: a broken application can cause as many as it has tables. */
const MAX_FINDINGS = 100;
/** How much of SQLite's own words a finding quotes. */
const MAX_WORDS = 300;

/** Sorts the messages of `integrity_check` into one finding for each index, table or damaged part. */
export function findingsOf(messages: string[], schema: SchemaName[]): Finding[] {
  const groups = new Map<string, { verdict: Verdict; messages: string[] }>();
  for (const message of messages) {
    if (message === 'ok') continue;
    const verdict = verdictOf(message);
    const key = [verdict.kind, verdict.index, verdict.table, verdict.column].join('\0');
    const group = groups.get(key) ?? { verdict, messages: [] };
    groups.set(key, group);
    group.messages.push(message);
  }
  return [...groups.values()].map((group) => finding(group.verdict, group.messages, schema));
}

function verdictOf(message: string): Verdict {
  for (const [pattern, read] of WORDING) {
    const match = pattern.exec(message);
    if (match !== null) return read([...match]);
  }
  return { kind: 'pages' };
}

function finding(verdict: Verdict, messages: string[], schema: SchemaName[]): Finding {
  const words = quote(messages);
  const { kind, index } = verdict;
  const table = tableOf(verdict, schema);
  switch (kind) {
    case 'index': {
      const what = index === undefined ? `The rows of table ${table} are` : `The index ${index} of table ${table} is`;
      return { kind, table, message: `${what} out of step: ${words}. Searches may miss rows. ${REBUILD}` };
    }
    case 'rows':
      return { kind, table, message: `Rows of table ${table} break the table's own rules: ${words}.` };
    case 'virtual':
      return {
        kind,
        table,
        message: `The search index ${table} does not agree with its content: ${words}. ${REBUILD}`,
      };
    case 'unchecked':
      return { kind, table, message: `The search index ${table} could not be checked: ${words}.` };
    default:
      return { kind: 'pages', table: null, message: words };
  }
}

const REBUILD = 'Rebuild it (REINDEX), or restore with rebuildIndexes: true (command line: --rebuild-indexes).';

function tableOf({ table, index, column }: Verdict, schema: SchemaName[]): string | null {
  if (index !== undefined) return schema.find(({ type, name }) => type === 'index' && name === index)?.tbl_name ?? null;
  if (column === undefined) return table ?? null;
  // Table and column are joined by a dot, and either may hold dots itself.
  const owners = schema.filter(({ type, name }) => type === 'table' && column.startsWith(`${name}.`));
  return owners.map(({ name }) => name).sort((one, other) => other.length - one.length)[0] ?? null;
}

function quote(messages: string[]): string {
  const [first = ''] = messages;
  const more = messages.length - 1;
  const words = first.replace(/\s*\n\s*/g, '; ').replace('*** in database main ***; ', '');
  const short = words.length > MAX_WORDS ? `${words.slice(0, MAX_WORDS)}…` : words;
  return more > 0 ? `${short} (and ${more} more)` : short;
}

/** At most `MAX_FINDINGS`, page damage first, with a last one that says how many there are besides. */
export function shortened(findings: Finding[]): Finding[] {
  if (findings.length <= MAX_FINDINGS) return findings;
  const damage = findings.filter(({ kind }) => kind === 'pages');
  const sorted = [...damage, ...findings.filter(({ kind }) => kind !== 'pages')];
  const more = `${findings.length - MAX_FINDINGS} more tables or indexes have findings like these.`;
  return [...sorted.slice(0, MAX_FINDINGS), { kind: 'unchecked', table: null, message: more }];
}
