import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { errorsPage } from '../src/emit-errors.js';
import { EXIT_CODES } from '../src/exit-codes.js';
import { HEALTH_CODES } from '../src/core/status/health.js';
import { AppError, type ErrorCode, ERRORS, maskSecrets, toAppError } from '../src/errors.js';
import { createLog } from '../src/log.js';

const codes = Object.keys(ERRORS) as ErrorCode[];
const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

describe('The error catalogue', () => {
  it('is documented in docs/errors.md, word for word', () => {
    expect(read('docs/errors.md')).toBe(errorsPage());
  });

  it('gives each code an exit code of its own', () => {
    expect(new Set(Object.values(EXIT_CODES)).size).toBe(codes.length);
  });

  it('holds no code that is never used', () => {
    const source = readdirSync(new URL('../src', import.meta.url), { recursive: true })
      .map(String)
      .filter((name) => name.endsWith('.ts') && !/exit-codes|error-handler/.test(name))
      .map((name) => read(`src/${name}`))
      .join('\n');
    expect(codes.filter((code) => !source.includes(`'${code}'`))).toEqual([]);
  });

  it('turns anything unexpected into INTERNAL_ERROR without its words', () => {
    const error = toAppError(new Error('secret detail'));
    expect(error).toMatchObject({ code: 'INTERNAL_ERROR' });
    expect(error.message).not.toContain('secret');
    const own = new AppError('BUSY', 'x');
    expect(toAppError(own)).toBe(own);
  });
});

describe('The troubleshooting page', () => {
  it('has a row for each reason that status may give', () => {
    const shown = [...read('docs/troubleshooting.md').matchAll(/^\| status: ([A-Z_]+) /gm)].map((match) => match[1]);
    expect(shown.sort()).toEqual([...HEALTH_CODES].sort());
  });
});

describe('Text that is shown or logged', () => {
  it.each([
    [
      'postgres://me:s3cr%21t@host/db and mongodb+srv://a:s3cr%21t@c',
      'postgres://me:***@host/db and mongodb+srv://a:***@c',
    ],
    ['postgres://me:s3cr%21t@x@y:z@host/db', 'postgres://me:***@host/db'],
    ['postgres:/me:s3cr%21t@host', 'postgres:/me:***@host'],
    ['postgres//me:s3cr%21t@host', 'postgres//me:***@host'],
    ['"me:s3cr%21t@host" is wrong', '"me:***@host" is wrong'],
    ['postgres://host/db?user=me&password=s3cr%21t&x=1', 'postgres://host/db?user=me&password=***&x=1'],
    ['/download/?ticket=s3cr%21t', '/download/?ticket=***'],
    [
      'sqlite:/srv/me@home/db.sqlite3 at 12:30 of me@example.org',
      'sqlite:/srv/me@home/db.sqlite3 at 12:30 of me@example.org',
    ],
  ])('shows no password of %s', (text, shown) => {
    expect(maskSecrets(text)).toBe(shown);
    const error = new AppError('BUSY', text, { hint: text });
    expect([error.message, error.hint]).toEqual([shown, shown]);
  });
});

describe('The log', () => {
  const logged = (isTTY: boolean) => {
    let text = '';
    const stream = new Writable({ write: (chunk: Buffer, _encoding, done) => ((text += chunk.toString()), done()) });
    const log = createLog('info', Object.assign(stream, { isTTY }));
    log.warn({ run: 'backup_1', err: new AppError('BUSY', 'it is at postgres://me:hunter2@host') }, 'not yet\u001b[2J');
    return text;
  };

  it('is plain lines on a terminal, without a stack for what is known', () => {
    expect(logged(true)).toMatch(
      /^\d\d:\d\d:\d\d WARN not yet \[2J \(run=backup_1\): BUSY: it is at postgres:\/\/me:\*\*\*@host\n$/,
    );
  });

  it('is JSON lines elsewhere', () => {
    expect(JSON.parse(logged(false))).toMatchObject({ level: 'warn', run: 'backup_1', err: { code: 'BUSY' } });
  });
});
