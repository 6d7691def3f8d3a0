/*
 * `npm start`: builds what is stale, then becomes the server (or, with `worker`, the worker). `--build-only` stops after
 * the build. Plain JavaScript, because it runs before anything is built; needs node and, to build, typescript and vite.
 */
import { spawn } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
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
    name: 'the server',
    takes: 'about 15 seconds, only after a change',
    sources: [join(root, 'src'), join(root, 'package.json'), join(root, 'tsconfig.json')],
    except: admin,
    result: join(dist, 'server.js'),
    stamp: join(dist, '.built'),
    tool: ['typescript', 'bin', 'tsc'],
    args: ['-p', join(root, 'tsconfig.json')],
  },
  {
    name: 'the admin page',
    takes: 'about 10 seconds',
    sources: [admin, join(root, 'src', 'client', 'generated'), join(root, 'schema'), join(root, 'package.json')],
    result: join(dist, 'admin', 'index.html'),
    stamp: join(dist, '.built-admin'),
    tool: ['vite', 'bin', 'vite.js'],
    args: ['build', admin, '--outDir', join(dist, 'admin'), '--emptyOutDir', '--logLevel', 'warn'],
  },
];

async function main() {
  const args = process.argv.slice(2);
  await build();
  if (args.includes('--build-only')) return;
  const entry = args.includes('worker') ? 'worker.js' : 'server.js';
  const built = await import(pathToFileURL(join(dist, entry)).href);
  await built.main();
}

/** Builds each stale target. Of several starts at once one builds, and the others wait for it. */
async function build() {
  if ((await staleTargets()).length === 0) return;
  await takeLock();
  try {
    for (const target of await staleTargets()) await buildOne(target);
  } finally {
    await rm(lock, { recursive: true, force: true });
  }
}

async function staleTargets() {
  const stale = [];
  for (const target of targets) {
    const built = await readFile(target.stamp, 'utf8').catch(() => '');
    if (built !== (await fingerprint(target)) || !(await exists(target.result))) stale.push(target);
  }
  return stale;
}

/** The newest time among the sources and how many they are: changes with every edit, addition and removal. */
async function fingerprint({ sources, except }) {
  let newest = 0;
  let count = 0;
  const look = async (path) => {
    const found = path === except ? null : await stat(path).catch(() => null);
    if (found === null) return;
    count += 1;
    if (found.isFile()) newest = Math.max(newest, found.mtimeMs);
    else for (const name of await readdir(path)) await look(join(path, name));
  };
  for (const path of sources) await look(path);
  return `${newest} ${count}\n`;
}

async function buildOne(target) {
  const [name, ...path] = target.tool;
  const tool = join(root, 'node_modules', name, ...path);
  if (!(await exists(tool))) {
    // Installed without development packages: what was built elsewhere is run as it is.
    if (await exists(target.result)) return;
    fail(
      `${target.name} is not built and ${name} is not installed: run \`npm ci\` (without --omit=dev), then \`npm start\`.`,
    );
  }
  process.stderr.write(`Building ${target.name} (${target.takes}) …\n`);
  const before = await fingerprint(target);
  const code = await run(process.execPath, [tool, ...target.args]);
  if (code !== 0) fail(`${target.name} could not be built: the lines above say why.`, code);
  await chmod(join(dist, 'cli.js'), 0o755).catch(() => undefined);
  await writeFile(target.stamp, before);
}

/** Runs a tool; a signal for this process ends the tool, and then this process. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
    const stop = (signal) => child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, stop);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      for (const name of ['SIGINT', 'SIGTERM']) process.off(name, stop);
      resolve(signal === null ? code : signal === 'SIGINT' ? 130 : 143);
    });
  });
}

/** A folder can be made only once. One whose maker is dead is taken over. */
async function takeLock() {
  await mkdir(dist, { recursive: true });
  for (;;) {
    try {
      await mkdir(lock);
      return await writeFile(join(lock, 'pid'), String(process.pid));
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (await isForsaken()) await rm(lock, { recursive: true, force: true });
    else await sleep(100);
  }
}

async function isForsaken() {
  const pid = Number(await readFile(join(lock, 'pid'), 'utf8').catch(() => ''));
  if (pid === 0) {
    const made = await stat(lock).catch(() => null);
    return made !== null && Date.now() - made.mtimeMs > 5_000;
  }
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

function exists(path) {
  return stat(path).then(
    () => true,
    () => false,
  );
}

class Failure extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

function fail(message, code = 1) {
  throw new Failure(message, code);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`db-manager: ${error.message}\n`);
  process.exitCode = error.code;
}
