import {
  Binary,
  BSONRegExp,
  BSONSymbol,
  Code,
  type Db,
  DBRef,
  Decimal128,
  Double,
  Int32,
  Long,
  MaxKey,
  MinKey,
  ObjectId,
  Timestamp,
  UUID,
} from 'mongodb';

const nested = (depth: number): object => (depth === 0 ? { end: [] } : { in: nested(depth - 1) });

/** Values of every kind with their edges. mongo-java-server knows no code with scope, no symbol and not all of binary. */
const VALUES: [string, unknown][] = [
  ['min key', new MinKey()],
  ['max key', new MaxKey()],
  ['null', null],
  ['true', true],
  ['int', new Int32(-2147483648)],
  ['long', Long.MIN_VALUE],
  ['long that is small', Long.fromNumber(5)],
  ['double that is whole', new Double(5)],
  ['negative zero', new Double(-0)],
  ['NaN', new Double(NaN)],
  ['infinity', new Double(-Infinity)],
  ['denormal', new Double(5e-324)],
  ['decimal', Decimal128.fromString('-1.230E+3')],
  ['decimal NaN', Decimal128.fromString('NaN')],
  ['decimal zeros', Decimal128.fromString('0E-6176')],
  ['date', new Date(-1)],
  ['first date', new Date(-8.64e15)],
  ['last date', new Date(8.64e15)],
  ['timestamp', new Timestamp({ t: 4294967295, i: 4294967295 })],
  ['id', new ObjectId('ffffffffffffffffffffffff')],
  ['uuid', new UUID('00112233-4455-4677-8899-aabbccddeeff')],
  ['binary', new Binary(Buffer.from([0, 255, 0]), 0)],
  ['empty binary', new Binary(Buffer.alloc(0), 0)],
  ['regex', new BSONRegExp('^a/b\\.$', 'im')],
  ['text', 'Ünï 😀 \u0000 "q" \\ \u2028'],
  ['empty text', ''],
  ['large text', 'ü'.repeat(400_000)],
  ['array', [1, [2, [3, []]], { a: [] }, null]],
  ['nested', nested(80)],
  ['number names', { 2: 'two', 1: 'one', '': 'empty', 'ü.x': 1 }],
  ['reference', new DBRef('other', new ObjectId('000000000000000000000001'))],
];
const REAL_ONLY: [string, unknown][] = [
  ['code', new Code('function () {}')],
  ['code with scope', new Code('x', { x: 1 })],
  ['symbol', new BSONSymbol('s')],
  ['own binary', new Binary(Buffer.from('x'), 0x80)],
  ['MD5', new Binary(Buffer.alloc(16), 5)],
];

/** Fills a database with values of every kind, odd names, and indexes; on a real server with all else that it can hold. */
export async function fillZoo(db: Db): Promise<void> {
  const isReal = Boolean(process.env.MONGODB_TEST_URL ?? process.env.MONGOMS_SYSTEM_BINARY);
  const types = db.collection<{ _id: string; value: unknown }>('types');
  for (const [_id, value] of [...VALUES, ...(isReal ? REAL_ONLY : [])]) await types.insertOne({ _id, value });
  for (const name of ['日本 "x"', 'a.b/c%:', 'A', 'a', "it's; (a) *test*!"]) {
    await db.collection(name).insertMany([{ name }, { name: [name] }]);
  }
  const indexed = db.collection('indexed');
  await indexed.createIndex({ unique: 1 }, { unique: true, sparse: true });
  await indexed.createIndex({ at: 1 }, { expireAfterSeconds: 100_000_000, name: 'ttl "ü"' });
  await indexed.createIndex({ a: 1, b: -1 }, { partialFilterExpression: { a: { $gt: Long.fromNumber(5) } } });
  await indexed.createIndex({ text: 'text' });
  for (let n = 0; n < 1_500; n += 500) {
    await indexed.insertMany(
      Array.from({ length: 500 }, (_, i) => ({ unique: n + i, at: new Date(), a: i, b: `${i}` })),
    );
  }
  await db.createCollection('empty');
  if (!isReal) return;
  await db.createCollection('capped', { capped: true, size: 100_000, max: 5 });
  await db.collection('capped').insertMany(Array.from({ length: 7 }, (_, n) => ({ n })));
  await db.createCollection('sorted', { collation: { locale: 'de', strength: 2 } });
  await db.collection('sorted').insertMany([{ n: 'ä' }, { n: 'Z' }]);
  await db.createCollection('valid');
  await db.collection('valid').insertOne({ n: 'was there before' });
  await db.command({ collMod: 'valid', validator: { n: { $type: 'int' } }, validationLevel: 'moderate' });
  await db.createCollection('seen', { viewOn: 'indexed', pipeline: [{ $match: { a: { $gt: 3 } } }] });
  await db.createCollection('seen_again', { viewOn: 'seen', pipeline: [] });
}
