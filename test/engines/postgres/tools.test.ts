import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { checkedOutput } from '../../../src/engines/postgres/dump.js';
import { findTools, startTool, type Tools, toolsFor } from '../../../src/engines/postgres/tools.js';
import { parseUrl } from '../../../src/engines/postgres/url.js';

const PASSWORD = 'a:b\\c';
const place = parseUrl(`postgres://u:${encodeURIComponent(PASSWORD)}@h/d%20%27x%3D`);

let folder: string;
let scratch: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'db-manager-'));
  scratch = join(folder, 'scratch');
  await mkdir(scratch);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Programs of a version that do what the shell script says. */
async function programs(major: number, script = ''): Promise<Tools> {
  const bin = join(folder, String(major));
  await mkdir(bin);
  for (const name of ['pg_dump', 'pg_restore']) {
    const version = `[ "$1" = --version ] && { echo "${name} (PostgreSQL) ${major}.4 (Debian)"; exit; }`;
    await writeFile(join(bin, name), `#!/bin/sh\n${version}\n${script}\n`);
    await chmod(join(bin, name), 0o755);
  }
  return { folder: bin, major };
}

const run = (tools: Tools, signal = new AbortController().signal) =>
  startTool({ tools, program: 'pg_dump', args: ['--format=custom'], place, scratch, signal });

describe('The client programs', () => {
  it('are found in the folder that was named, with their version', async () => {
    const tools = await programs(14);
    expect(await findTools(tools.folder)).toEqual([tools]);
    expect(await findTools(join(folder, 'none'))).toEqual([]);
  });

  it('that cannot be started are none, and end nothing', async () => {
    const tools = await programs(14);
    await chmod(join(tools.folder, 'pg_dump'), 0o644);
    expect(await findTools(tools.folder)).toEqual([]);
  });

  it('are those of the version of the server, or the nearest newer ones', () => {
    const found = [18, 14, 16].map((major) => ({ folder: '', major }));
    expect([13, 14, 15, 17].map((major) => toolsFor(found, major, null).major)).toEqual([14, 14, 16, 18]);
  });

  it('that are missing or too old are named with the package that brings them', () => {
    const refusal = { code: 'DATABASE_TOOLS_MISSING', hint: expect.stringContaining('postgresql-client-19') };
    expect(() => toolsFor([], 19, null)).toThrow(expect.objectContaining(refusal));
    expect(() => toolsFor([{ folder: '', major: 15 }], 19, '/bin')).toThrow(
      expect.objectContaining({ ...refusal, message: expect.stringContaining('is of version 15') }),
    );
  });
});

describe('A program that runs', () => {
  it('gets the password in a private file that is gone afterwards, and nowhere else', async () => {
    const tools = await programs(15, 'echo "$@"; env; stat -c %a "$PGPASSFILE"; cat "$PGPASSFILE"');
    const { stdout, ended } = await run(tools);
    const said = await text(stdout);
    await ended;
    const [args = '', ...rest] = said.split('\n');
    expect(args).toContain(`dbname='d \\'x='`);
    expect(rest.slice(-3)).toEqual(['600', '*:*:*:*:a\\:b\\\\c', '']);
    expect(rest.slice(0, -3).join('\n')).not.toMatch(/a\\?:b|PGPASSWORD|NODE_OPTIONS/);
    expect(args).not.toMatch(/a\\?:b/);
    expect(await readdir(scratch)).toEqual([]);
  });

  it.each([
    [
      'that fails after its last byte',
      'printf PGDMP; echo "pg_dump: error: it broke" >&2; exit 3',
      'ended with 3: pg_dump: error: it broke',
    ],
    ['that is killed', 'printf PGDMP; kill -9 $$', 'was ended by SIGKILL'],
    ['that writes nothing', 'exit 0', 'something else than a dump'],
    ['that writes something else', 'echo "hello world"', 'something else than a dump'],
    [
      'that says a row of the application',
      'echo "pg_dump: error: no" >&2; echo "DETAIL: secret row" >&2; exit 1',
      'pg_dump: error: no',
    ],
  ])('%s fails the stream with the reason', async (_, script, message) => {
    const { stdout, ended } = await run(await programs(15, script));
    const failed = text(checkedOutput(stdout, ended, 5_000));
    await expect(failed).rejects.toMatchObject({ code: 'DATABASE_FAILED', message: expect.stringContaining(message) });
    await expect(failed).rejects.toMatchObject({ message: expect.not.stringContaining('secret row') });
  });

  it('that sends nothing for too long fails the stream', async () => {
    const stop = new AbortController();
    const { stdout, ended } = await run(await programs(15, 'printf PGDMP; sleep 60'), stop.signal);
    const failed = text(checkedOutput(stdout, ended, 300));
    await expect(failed).rejects.toMatchObject({ message: expect.stringContaining('sent nothing') });
    stop.abort(new Error('over'));
    await expect(ended).rejects.toThrow('over');
  });

  it('ends with all that it started when the run is cancelled', async () => {
    const stop = new AbortController();
    const { stdout, ended } = await run(await programs(15, 'sleep 60 & echo $!; wait'), stop.signal);
    const [child] = (await stdout[Symbol.asyncIterator]().next()).value.toString().split('\n');
    stop.abort(new Error('cancelled'));
    await expect(ended).rejects.toThrow('cancelled');
    // Where nobody collects orphans, what has ended stays a zombie.
    const state = await readFile(`/proc/${child}/stat`, 'utf8').catch(() => 'gone');
    expect(state).toMatch(/^gone$|\) Z /);
    expect(await readdir(scratch)).toEqual([]);
  });
});
