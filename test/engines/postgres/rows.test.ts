import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { partsOf } from '../../../src/engines/postgres/rows.js';
import { casesOf } from '../../support/cases.js';

async function* pieces(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

/** The rows of each table as one text, and the sequences. */
async function read(text: string, size: number): Promise<string[]> {
  const read: string[] = [];
  for await (const part of partsOf(pieces(text, size), new Set(['t', '"a.b"']), new Set(['s']))) {
    if (part.kind === 'table') read.push(`${part.table.schema}.${part.table.name} ${part.columns}: `);
    else if (part.kind === 'rows') read[read.length - 1] += part.bytes.toString();
    else if (part.kind === 'sequence') read.push(`${part.sequence.name} ${part.last} ${part.isCalled}`);
    else read[read.length - 1] += '$';
  }
  return read;
}

const value = fc.oneof(
  fc.constantFrom('', '\\\\.', '\\N', 'COPY public.t (x) FROM stdin;', '\\\\', '.'),
  fc.string().map((text) => text.replace(/[\\\n\r]/g, '')),
);

describe('The rows of a PostgreSQL dump', () => {
  it('are those of the chosen tables, however the bytes arrive', async () => {
    const rows = fc.array(value, { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(rows, rows, rows, fc.integer({ min: 1, max: 40 }), async (one, other, third, size) => {
        const lines = (values: string[]) => values.map((text) => `${text}\n`).join('');
        const text = `--
SET x = 1;
COPY public.t (x, "a ""b""", "c, d") FROM stdin;
${lines(one)}\\.


COPY public.other (x) FROM stdin;
${lines(other)}\\.
SELECT pg_catalog.setval('public.s', -7, false);
SELECT pg_catalog.setval('public.s2', 8, true);
COPY public."a.b"  FROM stdin;
${lines(third)}\\.
`;
        expect(await read(text, size)).toEqual([
          `public.t (x, "a ""b""", "c, d"): ${lines(one)}$`,
          's -7 false',
          `public.a.b : ${lines(third)}$`,
        ]);
      }),
      { numRuns: casesOf(2_000) },
    );
  });

  it('are refused where they have no end, or are statements', async () => {
    await expect(read('COPY public.t (x) FROM stdin;\n1\n', 7)).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
    await expect(read('x'.repeat(2 << 20), 1 << 16)).rejects.toThrow('a line has no end');
    await expect(read('INSERT INTO public.t VALUES (1);\n', 7)).rejects.toMatchObject({ code: 'ENGINE_UNSUPPORTED' });
  });

  it('are not taken from a line that only looks like one of theirs', async () => {
    expect(await read('COPY public.t (x); DROP TABLE y; --) FROM stdin;\n', 7)).toEqual([]);
  });
});
