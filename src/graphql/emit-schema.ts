import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { printSchemaWithDirectives } from '@graphql-tools/utils';
import type { GraphQLSchema } from 'graphql';
import { createSchema } from './schema.js';

const FILE = new URL('../../schema/schema.graphql', import.meta.url);

/** The schema as text, with `@admin` on each guarded field. */
export function printSchema(schema: GraphQLSchema): string {
  return `# Written by \`npm run schema\`. Do not edit.\n${printSchemaWithDirectives(schema)}\n`;
}

/** The committed schema, or an empty text. */
export function committedSchema(): Promise<string> {
  return readFile(FILE, 'utf8').catch(() => '');
}

/** `npm run schema` writes the file; with `--check` it only fails if the file is not what would be written. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = printSchema(await createSchema());
  if (!process.argv.includes('--check')) await writeFile(FILE, text);
  else if ((await committedSchema()) !== text) {
    process.stderr.write('schema/schema.graphql is not what the code says. Run `npm run schema` and commit it.\n');
    process.exitCode = 1;
  }
}
