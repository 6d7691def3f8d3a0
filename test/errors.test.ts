import { describe, expect, it } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { EXIT_CODES } from '../src/cli/exit-codes.js';
import { HEALTH_CODES } from '../src/core/health.js';
import { AppError, type ErrorCode, ERRORS, toAppError } from '../src/errors.js';
import { HTTP_STATUS } from '../src/http/error-handler.js';
import { maskUrls } from '../src/log.js';

const codes = Object.keys(ERRORS) as ErrorCode[];
const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

/** The README's table, from the catalogue. */
function table(): string {
  const rows = codes.map(
    (code) =>
      `| ${code} | ${HTTP_STATUS[code]} | ${EXIT_CODES[code]} | ${ERRORS[code].meaning} | ${ERRORS[code].hint} |`,
  );
  return ['| code | HTTP | exit | meaning | what to do |', '| --- | --- | --- | --- | --- |', ...rows].join('\n');
}

describe('The error catalogue', () => {
  it('is the table in the README, word for word', () => {
    const shown = /<!-- errors -->\n+([\s\S]*?)\n+<!-- \/errors -->/.exec(read('README.md'))?.[1] ?? '';
    const cells = (text: string) =>
      text.split('\n').map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/^-+$/, '-')));
    expect(cells(shown)).toEqual(cells(table()));
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

describe('The troubleshooting table of the README', () => {
  it('has a row for each reason that status may give', () => {
    const shown = [...read('README.md').matchAll(/^\| status: ([A-Z_]+) /gm)].map((match) => match[1]);
    expect(shown.sort()).toEqual([...HEALTH_CODES].sort());
  });
});

describe('The log', () => {
  it('shows no password of a URL', () => {
    expect(maskUrls('connect to postgres://me:s3cr%21t@host/db and mongodb+srv://a:b@c')).toBe(
      'connect to postgres://me:***@host/db and mongodb+srv://a:***@c',
    );
  });
});
