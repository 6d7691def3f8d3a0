import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, it } from '@jest/globals';
import { buildSchema, parse, validate } from 'graphql';
import { examplesOf } from '../../src/admin/explorer/examples.js';

const root = new URL('../../schema/', import.meta.url);
const names = await readdir(new URL('operations/', root));
const files = await Promise.all(names.map((name) => readFile(new URL(`operations/${name}`, root), 'utf8')));
const schema = buildSchema(await readFile(new URL('schema.graphql', root), 'utf8'));

describe('The examples of the API explorer', () => {
  it('are every operation of schema/operations but uploads, and each fits the schema alone', () => {
    const examples = examplesOf(files);
    const all = [...files.join('\n').matchAll(/^(?:query|mutation|subscription) (\w+)/gm)].map(([, name]) => name);
    expect(examples.map(({ name }) => name).sort()).toEqual(all.filter((name) => name !== 'UploadBackup').sort());
    for (const { name, query, variables } of examples) {
      expect({ name, errors: validate(schema, parse(query)) }).toEqual({ name, errors: [] });
      if (variables !== '') expect(Object.keys(JSON.parse(variables) as object).length).toBeGreaterThan(0);
    }
  });

  it('take the words and the values of the comment above, and the fragments that they need', () => {
    const text = `fragment A on Backup { ...B }
fragment B on Backup { id }
fragment C on Backup { id }

# One by its id: {"id": "x"}.
# With more words.
query One($id: ID!) { backup(id: $id) { ...A } }

query Two { me { id } }
# Not {json}.
query Three { me { id } }
`;
    const examples = examplesOf([text]);
    expect(examples.map(({ name, about, variables }) => [name, about, variables])).toEqual([
      ['One', 'One by its id.', '{\n  "id": "x"\n}'],
      ['Two', '', ''],
      ['Three', 'Not {json}.', ''],
    ]);
    expect(examples[0]?.query).toBe(
      'query One($id: ID!) { backup(id: $id) { ...A } }\n\nfragment A on Backup { ...B }\n\nfragment B on Backup { id }',
    );
  });
});
