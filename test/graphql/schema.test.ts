import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';
import {
  buildSchema,
  type GraphQLObjectType,
  isEnumType,
  isInputObjectType,
  isObjectType,
  isSpecifiedScalarType,
  parse,
  validate,
} from 'graphql';
import { assertGuarded, guardAdmin } from '../../src/graphql/admin.directive.js';
import { committedSchema, printSchema } from '../../src/graphql/emit-schema.js';
import { createSchema } from '../../src/graphql/schema.js';

const run = promisify(execFile);

it('The committed schema is what the code says, with @admin on every field but the login', async () => {
  const text = await committedSchema();
  expect(text).toBe(printSchema(await createSchema()));
  const schema = buildSchema(text);
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()] as GraphQLObjectType[];
  const open = roots.flatMap((type) =>
    Object.values(type.getFields())
      .filter((field) => !field.astNode?.directives?.some((directive) => directive.name.value === 'admin'))
      .map((field) => field.name),
  );
  expect(open).toEqual(['login']);
});

it('Everything in the schema is described', async () => {
  const schema = await createSchema();
  const silent: string[] = [];
  const look = (name: string, { description }: { description?: string | null | undefined }) => {
    if (!description) silent.push(name);
  };
  const ours = Object.values(schema.getTypeMap()).filter(
    (type) =>
      !type.name.startsWith('__') &&
      !isSpecifiedScalarType(type) &&
      !['Query', 'Mutation', 'Subscription'].includes(type.name),
  );
  for (const type of ours) look(type.name, type);
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    if (isEnumType(type)) for (const value of type.getValues()) look(`${type.name}.${value.name}`, value);
    if (!isObjectType(type) && !isInputObjectType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      look(`${type.name}.${field.name}`, field);
      if ('args' in field) for (const arg of field.args) look(`${type.name}.${field.name}(${arg.name})`, arg);
    }
  }
  expect(silent).toEqual([]);
});

it('Every operation of the schema has an example, and every example is valid', async () => {
  const schema = await createSchema();
  const folder = new URL('../../schema/operations/', import.meta.url);
  const texts = await Promise.all((await readdir(folder)).map((name) => readFile(new URL(name, folder), 'utf8')));
  const document = parse(texts.join('\n'));
  expect(validate(schema, document)).toEqual([]);
  const used = new Set(
    document.definitions.flatMap((node) =>
      node.kind === 'OperationDefinition'
        ? node.selectionSet.selections.map((field) => (field.kind === 'Field' ? field.name.value : ''))
        : [],
    ),
  );
  const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()] as GraphQLObjectType[];
  expect(roots.flatMap((type) => Object.keys(type.getFields())).filter((name) => !used.has(name))).toEqual([]);
});

it('A field that is open by oversight stops the start', () => {
  const text = 'directive @admin on OBJECT | FIELD_DEFINITION type Query { a: Int @admin b: Int }';
  expect(() => assertGuarded(buildSchema(text))).toThrow('These fields lack @admin: b.');
  assertGuarded(buildSchema('directive @admin on OBJECT | FIELD_DEFINITION type Query @admin { a: Int b: Int }'));
});

it('@admin on a type guards each of its fields, before anything is resolved or subscribed to', async () => {
  const text = `directive @admin on OBJECT | FIELD_DEFINITION
    type Query { open: Secret } type Secret @admin { value: Int } type Subscription { watch: Int @admin }`;
  const schema = buildSchema(text);
  let touched = false;
  const touch = () => (touched = true);
  const secret = (schema.getType('Secret') as GraphQLObjectType).getFields().value;
  const watch = schema.getSubscriptionType()?.getFields().watch;
  Object.assign(secret ?? {}, { resolve: touch });
  Object.assign(watch ?? {}, { resolve: touch, subscribe: touch });
  const guarded = guardAdmin(schema);
  const context = { admin: () => Promise.reject(new Error('stop')) };
  const value = (guarded.getType('Secret') as GraphQLObjectType).getFields().value;
  const watched = guarded.getSubscriptionType()?.getFields().watch;
  for (const call of [value?.resolve, watched?.resolve, watched?.subscribe]) {
    await expect(async () => call?.({}, {}, context, {} as never)).rejects.toThrow('stop');
  }
  expect(touched).toBe(false);
});

it('The committed client is what the code generator makes of schema and examples', async () => {
  const { stdout } = await run('npx', ['graphql-codegen', '--config', 'codegen.yml', '--check'], { encoding: 'utf8' });
  expect(stdout).not.toMatch(/stale/i);
}, 120_000);
