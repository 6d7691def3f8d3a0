/*
 * `npm start`: builds what is stale, then becomes the server (or, with `worker`, the worker). `--build-only` stops after
 * the build. Plain JavaScript, because it runs before anything is built; needs node and, to build, typescript and vite.
 * What these cannot do is here: skip a build in milliseconds when nothing changed, and build once for several starts.
 */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import module from 'node:module';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const dist = join(root, 'dist');
const lock = join(dist, '.building');
const admin = join(root, 'src', 'admin');

/** What is built: from which files, by which tool, and which file proves that it was. */
const targets = [
  {
    name: 'the server (about 15 seconds, only after a change)',
    sources: ['src', 'package.json', 'tsconfig.json'],
    except: join(admin, '/'),
    result: join(dist, 'server.js'),
    stamp: join(dist, '.built'),
    tool: 'typescript/bin/tsc',
    args: ['-p', root],
  },
  {
    name: 'the admin page (about 10 seconds)',
    // With the one file of the domain that the page is built with.
    sources: [
      'src/admin',
      'src/client/generated',
      'src/core/schedules/shape.ts',
      'src/core/text/format.ts',
      'schema',
      'package.json',
    ],
    result: join(dist, 'admin', 'index.html'),
    stamp: join(dist, '.built-admin'),
    tool: 'vite/bin/vite.js',
    args: ['build', admin, '--outDir', join(dist, 'admin'), '--emptyOutDir', '--logLevel', 'warn'],
  },
];

/** A problem that the user can fix: shown without a stack. */
class Failure extends Error {
  constructor(message, code = 1) {
    super(message);
    this.code = code;
  }
}

/** Builds each stale target. Of several starts at once one builds, and the others wait for it. */
async function build() {
  if (!targets.some(isStale)) return;
  await takeLock();
  try {
    for (const target of targets.filter(isStale)) await buildOne(target);
  } finally {
    rmSync(lock, { force: true });
  }
}

function isStale(target) {
  const built = existsSync(target.result) && existsSync(target.stamp) && readFileSync(target.stamp, 'utf8');
  return built !== fingerprint(target);
}

/** The newest time among the sources and how many they are: changes with every edit, addition and removal. */
function fingerprint({ sources, except }) {
  const times = sources
    .map((source) => join(root, source))
    .filter((source) => existsSync(source))
    .flatMap((source) => (statSync(source).isFile() ? [source] : filesIn(source)))
    .filter((path) => except === undefined || !path.startsWith(except))
    .map((path) => statSync(path).mtimeMs);
  return `${Math.max(0, ...times)} ${times.length}\n`;
}

const filesIn = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

async function buildOne(target) {
  const tool = join(root, 'node_modules', target.tool);
  const [what] = target.name.split(' (');
  if (!existsSync(tool)) {
    // Installed without development packages: what was built elsewhere is run as it is.
    if (existsSync(target.result)) return;
    const missing = target.tool.split('/')[0];
    const fix = 'run `npm ci` (without --omit=dev), then `npm start`.';
    throw new Failure(`${what} is not built and ${missing} is not installed: ${fix}`);
  }
  process.stderr.write(`Building ${target.name} …\n`);
  const before = fingerprint(target);
  const code = await run(process.execPath, [tool, ...target.args]);
  if (code !== 0) throw new Failure(`${what} could not be built: the lines above say why.`, code);
  chmodSync(join(dist, 'cli.js'), 0o755);
  writeFileSync(target.stamp, before);
}

/** Runs a tool; a signal for this process ends the tool, and then this process. @returns the exit code */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
    const pass = (signal) => child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, pass);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM']) process.off(name, pass);
      resolve(signal === null ? code : signal === 'SIGINT' ? 130 : 143);
    });
  });
}

/** A file that is made only once, with the process that builds. One whose process is gone is taken over. */
async function takeLock() {
  mkdirSync(dist, { recursive: true });
  for (;;) {
    try {
      return writeFileSync(lock, String(process.pid), { flag: 'wx' });
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    await sleep(100);
    if (!isHeld()) rmSync(lock, { recursive: true, force: true });
  }
}

/** False if the process that made the lock is gone, or the lock names none: its machine went down as it was written. */
function isHeld() {
  try {
    const pid = Number(readFileSync(lock, 'utf8'));
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    // ENOENT: it was just given back. EPERM: the process is another user's.
    return error.code === 'ENOENT' || error.code === 'EPERM';
  }
}

try {
  await build();
  const args = process.argv.slice(2);
  if (!args.includes('--build-only')) {
    // Node 22 and later keep what they have compiled, where the command line keeps it too.
    module.enableCompileCache?.(join(dist, '.cache'));
    const entry = args.includes('worker') ? 'worker.js' : 'server.js';
    const { main } = await import(pathToFileURL(join(dist, entry)).href);
    await main();
  }
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`db-manager: ${error.message}\n`);
  process.exitCode = error.code;
}
