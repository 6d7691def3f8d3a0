import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type GraphQLObjectType, Kind, parse, validate } from 'graphql';
import { createSchema } from '../../src/graphql/schema.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { send, socketOf } from '../support/operations.js';

let app: TestApp;
beforeAll(async () => {
  app = await createTestApp({ work: false });
  await app.backup();
});
afterAll(() => app.close());

const schema = await createSchema();
const fieldsOf = (type: GraphQLObjectType | null | undefined) => Object.values(type?.getFields() ?? {});
const exampleOf = ({ description }: { description?: string | null | undefined }) =>
  /\n\nExample: `([^`]+)`$/.exec(description ?? '')?.[1] ?? '';

const named = (type: GraphQLObjectType | null | undefined) =>
  fieldsOf(type).map((field): [string, string] => [field.name, exampleOf(field)]);
const operations = [...named(schema.getQueryType()), ...named(schema.getMutationType())];
const subscriptions = named(schema.getSubscriptionType());
const isCommand = (text: string) => text.startsWith('curl ');

describe('The example in the description of', () => {
  it.each([...operations.filter(([, text]) => !isCommand(text)), ...subscriptions])(
    '%s asks for just this, and fits the schema',
    (name, text) => {
      const document = parse(text);
      expect(validate(schema, document)).toEqual([]);
      const [definition] = document.definitions;
      const selected =
        definition?.kind === Kind.OPERATION_DEFINITION
          ? definition.selectionSet.selections.map((node) => (node.kind === Kind.FIELD ? node.name.value : ''))
          : [];
      expect(selected).toEqual([name]);
    },
  );

  it.each(operations.filter(([, text]) => !isCommand(text)))(
    '%s is understood by a server; at most the record that it names is not there',
    async (name, text) => {
      const { errors } = await send(app, text);
      const codes = errors.map(({ extensions }) => extensions.code);
      // Their examples hold no password, or ask for a table that is not here.
      const may = {
        login: ['UNAUTHENTICATED'],
        changePassword: ['BAD_USER_INPUT'],
        confirmPassword: ['BAD_USER_INPUT'],
        createConfig: ['DATABASE_NOT_FOUND'],
        rowHistory: ['BAD_USER_INPUT'],
        findChange: ['BAD_USER_INPUT'],
      }[name] ?? ['NOT_FOUND'];
      expect({ codes: codes.filter((code) => !may.includes(code)), errors }).toEqual({ codes: [], errors });
    },
  );

  it.each(subscriptions)('%s is understood over WebSocket', async (_name, query) => {
    const { client } = socketOf(app, { token: app.token });
    const outcome = await new Promise((resolve) => {
      client.subscribe({ query }, { next: resolve, error: resolve, complete: () => resolve(null) });
    });
    await client.dispose();
    expect(JSON.stringify(outcome)).toContain('NOT_FOUND');
  });

  it.each(operations.filter(([, text]) => isCommand(text)))('%s is a command that works', async (name, command) => {
    const [, operationsPart = ''] = /-F operations='([^']+)'/.exec(command) ?? [];
    const [, map = ''] = /-F map='([^']+)'/.exec(command) ?? [];
    const [, fileName = ''] = /-F 0=@(\S+)/.exec(command) ?? [];
    const headers = Object.fromEntries(
      [...command.matchAll(/-H "([^:]+): ([^"]+)"/g)].map(([, key = '', value = '']) => [
        key,
        value.replace('$TOKEN', app.token),
      ]),
    );
    const archive = await readFile(new URL('../fixtures/django-1.0.zip', import.meta.url));
    const form = new FormData();
    form.set('operations', operationsPart);
    form.set('map', map);
    form.set('0', new Blob([archive]), fileName);
    const address = /(http:\S+)/.exec(command)?.[1] ?? '';
    const url = new URL(new URL(address).pathname, app.url);
    const answer = await (await fetch(url, { method: 'POST', headers, body: form })).json();
    expect(answer).toEqual({ data: { [name]: { id: expect.any(String), status: 'COMPLETED' } } });
  });
});
