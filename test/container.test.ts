import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { ENVIRONMENT_NAMES, loadEnvironment } from '../src/environment.js';

const root = resolve(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const { version } = JSON.parse(read('package.json')) as { version: string };

/** The instructions of the Dockerfile: `['COPY', 'src src']`. */
const instructions = read('Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .flatMap((line) => {
    const [, name, rest] = /^([A-Z]+) (.+)$/.exec(line) ?? [];
    return name === undefined || rest === undefined ? [] : [[name, rest] as const];
  });
const all = (name: string) => instructions.flatMap(([each, rest]) => (each === name ? [rest] : []));

interface Service {
  image: string;
  user?: string;
  command?: string[];
  environment?: Record<string, string>;
  secrets?: string[];
  volumes?: string[];
  depends_on?: Record<string, unknown>;
}

interface Composition {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
  secrets: Record<string, { file: string }>;
}

/** A tag that says a version, not one that moves to the next. */
const PINNED = /^[\w./-]+:\d+(\.\d+)+(-[\w.]+)*$/;

describe('The Dockerfile', () => {
  it('begins with images of one version each', () => {
    const images = all('FROM').map((from) => from.split(' ')[0]);
    expect(images.length).toBe(2);
    expect(images.filter((image) => !PINNED.test(image ?? ''))).toEqual([]);
  });

  it('uses the version of Node.js that the project uses', () => {
    const versions = all('FROM').map((from) => /^node:(\d+)\./.exec(from)?.[1]);
    expect([...new Set(versions)]).toEqual([read('.nvmrc').trim()]);
  });

  it('does not run as root', () => {
    expect(all('USER')).toEqual([expect.stringMatching(/^[1-9]\d*:[1-9]\d*$/)]);
  });

  it('copies only what there is and what .dockerignore lets through', () => {
    const shown = read('.dockerignore')
      .match(/^!.+$/gm)
      ?.map((line) => line.slice(1));
    const copies = all('COPY').filter((copy) => !copy.startsWith('--from='));
    const sources = copies.flatMap((copy) => copy.split(' ').slice(0, -1));
    expect(sources.length).toBeGreaterThan(5);
    expect(sources.filter((source) => !existsSync(join(root, source)))).toEqual([]);
    expect([...new Set(sources)].sort()).toEqual(shown?.sort());
  });

  it('sets only variables that are read', () => {
    const names = all('ENV').flatMap((line) => [...line.matchAll(/(\w+)=/g)].map(([, name = '']) => name));
    expect(names).toContain('DATA_DIR');
    // Of the system, for programs such as rclone.
    expect(names.filter((name) => name !== 'HOME' && !ENVIRONMENT_NAMES.includes(name))).toEqual([]);
  });
});

describe.each(['compose.yaml', 'compose.cluster.yaml'])('%s', (file) => {
  const { services, volumes, secrets } = parse(read(file), { merge: true }) as Composition;
  const ours = Object.entries(services).filter(([, { image }]) => image.startsWith('db-manager:'));
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'db-manager-compose-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('names images of one version each, ours of this one, and no root', () => {
    const images = Object.values(services).map(({ image }) => image);
    expect(images.filter((image) => !PINNED.test(image))).toEqual([]);
    expect([...new Set(ours.map(([, { image }]) => image))]).toEqual([`db-manager:${version}`]);
    expect(Object.values(services).filter(({ user }) => /^(root|0)\b/.test(user ?? ''))).toEqual([]);
  });

  it('names only secrets, volumes and services that it has', () => {
    for (const service of Object.values(services)) {
      const used = [...JSON.stringify(service).matchAll(/\/run\/secrets\/([\w-]+)/g)].map(([, name]) => name);
      expect([...new Set(used)].sort()).toEqual([...(service.secrets ?? [])].sort());
      expect(Object.keys(secrets)).toEqual(expect.arrayContaining(service.secrets ?? []));
      expect(Object.keys(services)).toEqual(expect.arrayContaining(Object.keys(service.depends_on ?? {})));
      const named = (service.volumes ?? []).flatMap((volume) => /^(\w+):/.exec(volume)?.[1] ?? []);
      expect(Object.keys(volumes)).toEqual(expect.arrayContaining(named));
      const files = (service.volumes ?? []).flatMap((volume) => /^\.\/([^:]+):/.exec(volume)?.[1] ?? []);
      expect(files.filter((path) => !existsSync(join(root, path)))).toEqual([]);
    }
  });

  it('has settings with which every process of ours starts', async () => {
    expect(ours.length).toBeGreaterThan(0);
    for (const [, { environment = {} }] of ours) {
      const names = Object.keys(environment).map((name) => name.replace(/_FILE$/, ''));
      expect(names.filter((name) => !ENVIRONMENT_NAMES.includes(name))).toEqual([]);
      const given = Object.entries(environment).map(([name, value]) => {
        const asked = value.replace(/\$\{(\w+)(?::-|:\?)[^}]*\}/g, (_, variable: string) => SETTINGS[variable] ?? '');
        return [name, asked.replace('/run/secrets', folder)] as const;
      });
      for (const [name, value] of given) {
        if (name.endsWith('_FILE')) await writeFile(value, SECRETS[value.slice(folder.length + 1)] ?? '');
      }
      expect(loadEnvironment(Object.fromEntries(given), folder).auth).toMatchObject({ adminEmail: 'a@example.org' });
    }
  });
});

describe('The proxy of the three nodes', () => {
  const missing = spawnSync('nginx', ['-v']).error !== undefined;
  const withNginx = missing ? it.skip : it;

  withNginx(`is a configuration that nginx accepts${missing ? ' (skipped: there is no nginx)' : ''}`, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'db-manager-proxy-'));
    try {
      const config = `pid ${folder}/pid; events {} http { include ${join(root, 'container/proxy.conf')}; }`;
      await writeFile(join(folder, 'nginx.conf'), config);
      const args = ['-t', '-c', join(folder, 'nginx.conf'), '-e', join(folder, 'error.log')];
      expect(spawnSync('nginx', args, { encoding: 'utf8' })).toMatchObject({ status: 0 });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

/** What a user sets, and what lies in the files of secrets, as docs/containers.md has them made. */
const SETTINGS: Record<string, string> = {
  ADMIN_EMAIL: 'a@example.org',
  APP_FOLDER: '/srv/okpuja',
  DATABASE_URL: 'sqlite:///app-data/db.sqlite3',
};
const SECRETS: Record<string, string> = {
  'admin-password': 'a long password',
  'control-database-url': 'postgres://db_manager:secret@postgres:5432/db_manager',
  'database-url': 'postgres://okpuja:secret@db.example.org:5432/okpuja',
  'jwt-secret': '0'.repeat(64),
  's3-secret-key': '1'.repeat(64),
  'secrets-key': '2'.repeat(64),
};

describe('The entrypoint of the container', () => {
  const isRoot = process.getuid?.() === 0;
  const asRoot = isRoot ? it : it.skip;
  const why = isRoot ? '' : ' (skipped: it takes root)';
  let folder: string;
  let script: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'db-manager-entrypoint-'));
    await chmod(folder, 0o755);
    await mkdir(join(folder, 'data'));
    await mkdir(join(folder, 'backups'));
    await writeFile(join(folder, 'cli.mjs'), 'console.log(process.getuid(), process.getgid(), process.argv.slice(2));');
    const text = read('container/entrypoint.sh');
    script = text
      .replaceAll('/app/dist/cli.js', join(folder, 'cli.mjs'))
      .replace(/ \/(data|backups)\b/g, ` ${folder}/$1`);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const run = (env: Record<string, string>, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('sh', ['-c', script, 'db-manager', ...args], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH, ...env },
    });
    return { status, stdout: stdout.trim(), stderr };
  };
  const ownerOf = async (name: string) => (await stat(join(folder, name))).uid;

  asRoot(`gives up the rights of root and passes on what it is to do${why}`, () => {
    expect(run({}, 'restore', 'a b')).toMatchObject({ status: 0, stdout: "1000 1000 [ 'restore', 'a b' ]" });
    expect(run({ PUID: '1234' }, 'serve').stdout).toBe("1234 1234 [ 'serve' ]");
    expect(run({ PUID: '1234', PGID: '99' }, 'serve').stdout).toBe("1234 99 [ 'serve' ]");
  });

  asRoot(`gives its account /data and an empty /backups, and nothing that lies in that${why}`, async () => {
    await writeFile(join(folder, 'data', 'of-root'), '');
    await chown(join(folder, 'data'), 0, 0);
    await chown(join(folder, 'backups'), 0, 0);
    expect(run({ PUID: '1234' }, 'serve').status).toBe(0);
    expect(await Promise.all(['data', 'data/of-root', 'backups'].map(ownerOf))).toEqual([1234, 1234, 1234]);
    await writeFile(join(folder, 'backups', 'of-others'), '');
    expect(run({ PUID: '4321' }, 'serve').status).toBe(0);
    expect(await Promise.all(['data/of-root', 'backups', 'backups/of-others'].map(ownerOf))).toEqual([4321, 1234, 0]);
  });

  it('is documented with the capability by which the init, as root, passes signals on', () => {
    const [, added = ''] = /cap_add: \[(.*)\]/.exec(readFileSync('docs/containers.md', 'utf8')) ?? [];
    expect(added.split(', ')).toContain('KILL');
  });

  it.each(['0', '-1', 'root', '1 2', '007', '99999999999'])('refuses PUID=%s, with what to write', (PUID) => {
    const { status, stderr } = run({ PUID }, 'serve');
    expect({ status, stderr }).toEqual({ status: 20, stderr: expect.stringMatching(/PUID is not .*\n.*id -u/) });
  });

  asRoot(`says what to do when it cannot become the account that it is told${why}`, () => {
    const args = ['--reuid', '1234', '--regid', '1234', '--clear-groups', 'sh', '-c', script, 'db-manager', 'serve'];
    const start = (PUID: string) =>
      spawnSync('setpriv', args, { encoding: 'utf8', env: { PATH: process.env.PATH, PUID } });
    expect(start('1234')).toMatchObject({ status: 0, stdout: "1234 1234 [ 'serve' ]\n" });
    const stderr = expect.stringMatching(/runs as 1234.*\n.*user: "4321:4321"/);
    expect(start('4321')).toMatchObject({ status: 20, stderr });
  });
});
