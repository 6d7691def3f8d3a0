import { describe, expect, it } from '@jest/globals';
import { createEngines } from '../../../src/engines/index.js';
import { parseUrl } from '../../../src/engines/postgres/url.js';

const engine = createEngines().of('POSTGRES');

describe('The URL of a PostgreSQL database', () => {
  it.each([
    ['postgres://u:p@h/d', { host: 'h', port: 5432, user: 'u', password: 'p', database: 'd', sslMode: 'prefer' }],
    ['postgresql://u@H.example:6000/d', { host: 'h.example', port: 6000, password: null }],
    ['postgres://a%40b:p%2F%3A%40%25@h/d%20%C3%BC', { user: 'a@b', password: 'p/:@%', database: 'd ü' }],
    ['postgres://u:p@[::1]:5433/d', { host: '::1', port: 5433 }],
    ['postgres://u@localhost/d?host=/run/pg', { host: '/run/pg' }],
    ['postgres://u@%2Fvar%2Frun%2Fpostgresql/d', { host: '/var/run/postgresql' }],
    ['postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem', { sslMode: 'verify-full', sslRootCert: '/ca.pem' }],
  ])('%s is read, and is the same in its normalised form', (url, place) => {
    expect(parseUrl(url)).toMatchObject(place);
    const { url: normalised } = engine.resolve(url);
    expect(parseUrl(normalised)).toEqual(parseUrl(url));
    expect(engine.resolve(normalised).url).toBe(normalised);
  });

  it.each([
    'postgres:/u:secret@h/d',
    'postgres://h/d',
    'postgres://u:secret@h',
    'postgres://u:secret@/d',
    'postgres://u:secret@a,b/d',
    'postgres://u:secret@h:99999/d',
    'postgres://u:secret%zz@h/d',
    'postgres://u:secret%0A@h/d',
    'postgres://u:secret@h/d?sslmode=maybe',
    'postgres://u:secret@h/d?sslmode=verify-full',
    'postgres://u:secret@h/d?options=-c',
    'postgres://u:secret@h/d?host=relative',
    `postgres://u:secret@h/${'x'.repeat(64)}`,
  ])('%s is refused by the field, without its password', (url) => {
    expect(() => engine.resolve(url)).toThrow(
      expect.objectContaining({
        code: 'BAD_USER_INPUT',
        field: 'databaseUrl',
        message: expect.not.stringContaining('secret'),
      }),
    );
  });

  it('is shown with *** in place of the password', () => {
    expect(engine.resolve('postgres://u:p%40%3A@h/d?sslmode=require')).toMatchObject({
      display: 'postgres://u:***@h:5432/d?sslmode=require',
      name: 'd',
    });
  });

  it('names one database however this machine is named, and whoever asks', async () => {
    const keys = ['u:p@localhost', 'v@127.0.0.1:5432', 'u@[::1]', 'u@%2Frun'].map((at) =>
      engine.keyOf(`postgres://${at}/d`),
    );
    expect(new Set(await Promise.all(keys))).toEqual(new Set(['POSTGRES:localhost:5432/d']));
    expect(await engine.keyOf('postgres://u@h:5433/d')).toBe('POSTGRES:h:5433/d');
  });
});
