import { type ChildProcess, spawn } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Options, transform } from '@swc/core';
// @ts-expect-error Plain JavaScript.
import { swc } from '../../dev/swc.mjs';

/** The project's folder. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** How a process ended, and what it said. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A process under way. */
export interface Running {
  child: ChildProcess;
  ended: Promise<Ended>;
  /** Resolves as soon as standard output or standard error holds the text; fails if the process ends before. */
  says(text: string): Promise<void>;
}

/** Starts a process with nothing of this one's environment but PATH. */
export function start(args: string[], options: { cwd: string; env: NodeJS.ProcessEnv; input?: string }): Running {
  const env = { PATH: process.env.PATH, ...options.env };
  const child = spawn(process.execPath, args, { cwd: options.cwd, env, stdio: 'pipe' });
  let [stdout, stderr] = ['', ''];
  const waiting = new Set<() => void>();
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    waiting.forEach((look) => look());
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    waiting.forEach((look) => look());
  });
  child.stdin.end(options.input ?? '');
  const ended = new Promise<Ended>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  const says = (text: string) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (!stdout.includes(text) && !stderr.includes(text)) return;
        waiting.delete(look);
        resolve();
      };
      waiting.add(look);
      void ended.then(() => reject(new Error(`ended without saying "${text}":\n${stdout}\n${stderr}`)));
      look();
    });
  return { child, ended, says };
}

/**
 * Translates the product, and the worker of the job tests, as the tests themselves are translated, so that a process starts
 * in a fraction of the time that it takes to translate on the fly.
 * @returns the folder that stands for the project's: it holds src/cli.js and test/jobs/worker.js
 */
export async function translate(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  await copyFile(join(ROOT, 'package.json'), join(folder, 'package.json'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  for (const part of ['src', 'test/jobs']) {
    const names = await readdir(join(ROOT, part), { recursive: true });
    const sources = names.filter((name) => name.endsWith('.ts'));
    await Promise.all(sources.map((name) => translateFile(join(part, name), folder)));
  }
  return folder;
}

async function translateFile(name: string, folder: string): Promise<void> {
  const source = await readFile(join(ROOT, name), 'utf8');
  const options: Options = { ...swc, filename: name, sourceMaps: false, swcrc: false };
  const { code } = await transform(source, options);
  const target = join(folder, name.replace(/\.ts$/, '.js'));
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, code);
}
