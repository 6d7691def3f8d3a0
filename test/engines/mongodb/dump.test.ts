import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { BSON, Double, Int32, Long, UUID } from 'mongodb';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEngines } from '../../../src/engines/index.js';
import { exactDocument, readDefinition, writeDefinition } from '../../../src/engines/mongodb/definition.js';
import { fileNameOf } from '../../../src/engines/mongodb/names.js';

const engine = createEngines().of('MONGODB');
const step = { signal: new AbortController().signal, onProgress: () => undefined };
const bytes = (...documents: object[]) => Buffer.concat(documents.map((each) => BSON.serialize(each)));

describe('A definition', () => {
  it('is written with the fields of mongodump and types that come back', () => {
    const definition = {
      name: 'a "b"',
      type: 'collection' as const,
      options: { capped: true, size: new Long(100_000), validator: { n: { $type: 'int' } } },
      indexes: [{ v: new Int32(2), key: { _id: new Int32(1) }, name: '_id_' }],
      uuid: new UUID('00112233-4455-4677-8899-aabbccddeeff').toHexString(false),
    };
    const text = writeDefinition(definition);
    expect(text).toBe(
      '{"options":{"capped":true,"size":{"$numberLong":"100000"},"validator":{"n":{"$type":"int"}}},' +
        '"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}],' +
        '"uuid":"0011223344554677' +
        '8899aabbccddeeff","collectionName":"a \\"b\\"","type":"collection"}',
    );
    expect(readDefinition(text, 'x', null)).toEqual(definition);
  });

  it('leaves out options and uuid where there are none, and takes the name of an older file', () => {
    const none = { name: 'a', type: 'collection' as const, options: {}, indexes: [], uuid: null };
    expect(writeDefinition(none)).toBe('{"indexes":[],"collectionName":"a","type":"collection"}');
    expect(readDefinition('{"indexes":[]}', 'x', 'a')).toEqual(none);
  });

  it('keeps types of values, and is refused where its order would be lost', () => {
    const whole = BSON.serialize({ key: { a: new Double(1), b: new Int32(-1) } });
    expect(BSON.serialize(exactDocument(whole, 'c'))).toEqual(whole);
    // An index on "2" and "1": no JavaScript object has them in this order.
    const inside = Buffer.from([0x13, 0, 0, 0, 0x10, 0x32, 0, 1, 0, 0, 0, 0x10, 0x31, 0, 1, 0, 0, 0, 0]);
    expect(() => exactDocument(inside, 'c')).toThrow('The definition of "c" cannot be kept exactly.');
  });

  it.each([
    ['no JSON', '{', 'it is no Extended JSON'],
    ['a list', '[]', 'it holds no object'],
    ['no name', '{"indexes":[]}', 'it names no collection'],
    ['indexes without keys', '{"collectionName":"a","indexes":[{"name":"x"}]}', 'its indexes are no list of indexes'],
    ['options that are no object', '{"collectionName":"a","options":[]}', 'its options are no object'],
    ['a view that is none', '{"collectionName":"a","type":"view"}', 'neither of a collection nor of a view'],
    ['a time series', '{"collectionName":"a","type":"timeseries"}', 'is a time-series collection'],
    ['an unknown type', '{"collectionName":"a","type":"x"}', 'neither of a collection nor of a view'],
  ])('is refused with %s', (_, text, message) => {
    expect(() => readDefinition(text, 'x', null)).toThrow(message);
  });
});

describe('A dump in a folder', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'db-manager-'));
    await mkdir(join(folder, 'database.bson'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const put = (name: string, content: string | Buffer) => writeFile(join(folder, 'database.bson', name), content);
  const define = (collectionName: string, more: object = {}) =>
    put(`${fileNameOf(collectionName)}.metadata.json`, JSON.stringify({ indexes: [], collectionName, ...more }));

  it('is counted without a server, with odd names, views and empty collections', async () => {
    await define('a/b');
    await put('a%2Fb.bson', bytes({ _id: 1 }, { _id: 2 }));
    await define('none');
    await put('none.bson', '');
    await define('seen', { type: 'view', options: { viewOn: 'none', pipeline: [] } });
    const rows = ({ tables }: { tables: { name: string; rows: number | null }[] }) =>
      tables.map(({ name, rows: count }) => [name, count]);
    expect(rows(await engine.inspect(folder, step))).toEqual([
      ['a/b', 2],
      ['none', 0],
    ]);
    expect(rows(await engine.describeDump(folder, step))).toEqual([
      ['a/b', null],
      ['none', null],
    ]);
  });

  it('is refused with documents that are damaged', async () => {
    await define('a');
    await put('a.bson', bytes({ _id: 1 }, { _id: 2 }).subarray(0, -1));
    await expect(engine.inspect(folder, step)).rejects.toMatchObject({
      code: 'DATABASE_CORRUPT',
      message: expect.stringContaining('a.bson is damaged at document 2'),
    });
  });

  it('is refused without the documents of a collection, and without their definition', async () => {
    await define('a');
    await expect(engine.describeDump(folder, step)).rejects.toThrow('lacks the documents of the collection "a"');
    await put('a.bson', '');
    await put('b.bson', '');
    await expect(engine.describeDump(folder, step)).rejects.toThrow('lacks the definition that belongs to');
  });

  it.each(['system.users', 'dbm_switch', 'a$b', ''])('is refused with a collection named "%s"', async (name) => {
    await define(name);
    await put(`${fileNameOf(name)}.bson`, '');
    await expect(engine.describeDump(folder, step)).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
  });

  it('is refused where a definition lies under the name of another collection', async () => {
    await put('a.metadata.json', '{"indexes":[],"collectionName":"b"}');
    await put('a.bson', '');
    await expect(engine.describeDump(folder, step)).rejects.toMatchObject({ code: 'DATABASE_CORRUPT' });
  });
});
