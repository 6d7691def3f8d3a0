/* Runs commands and questions in turn, and makes tables of the medians. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

const GNU_TIME = '/usr/bin/time';

export const isInstalled = (tool) => spawnSync('which', [tool]).status === 0;

/** The value at a part of the sorted values: 0.5 is the median. */
export function quantile(values, part) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
}

/** Runs a shell command. @returns seconds, and the peak memory in bytes of its largest process */
export async function runCommand(command, options = {}) {
  const gnu = existsSync(GNU_TIME);
  const [file, args] = gnu ? [GNU_TIME, ['-f', 'peak=%M', 'sh', '-c', command]] : ['sh', ['-c', `exec ${command}`]];
  const start = performance.now();
  const child = spawn(file, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options });
  let errors = '';
  child.stderr.on('data', (data) => (errors += data));
  let peak = 0;
  const ended = new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  if (!gnu) peak = await watchPeak(child, ended);
  const code = await ended;
  const seconds = (performance.now() - start) / 1_000;
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${errors}`);
  return { seconds, peak: gnu ? Number(/peak=(\d+)/.exec(errors)?.[1]) * 1_024 : peak };
}

/** What the kernel noted of a process while it ran, where GNU time is not installed. */
async function watchPeak(child, ended) {
  let running = true;
  void ended.then(() => (running = false));
  let peak = 0;
  while (running) {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8');
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024);
    } catch {
      // It has ended just now.
    }
    await sleep(20);
  }
  return peak;
}

/**
 * Runs every candidate once a round, in turn, so that what slows the machine down for a while hits all.
 * @param candidates {name, tools, run, before, size}: `tools` must be installed, `before` is not measured, `size` gives bytes
 * @returns rows of the table, the missing ones named
 */
export async function compareInTurn(candidates, rounds) {
  const results = candidates.map((candidate) => ({
    ...candidate,
    missing: (candidate.tools ?? []).filter((tool) => !isInstalled(tool)),
    runs: [],
    bytes: null,
  }));
  for (let round = 0; round < rounds; round++) {
    for (const result of results) {
      if (result.missing.length > 0) continue;
      await result.before?.();
      result.runs.push(await result.run());
      if (result.size) result.bytes = await result.size();
    }
  }
  return results;
}

export const megabytes = (bytes) => (bytes === null || Number.isNaN(bytes) ? '' : (bytes / 1e6).toFixed(1));

/** A Markdown table of what `compareInTurn` measured. @param base name of what the ratios are to */
export function comparison(results, base) {
  const median = ({ runs }) =>
    quantile(
      runs.map(({ seconds }) => seconds),
      0.5,
    );
  const reference = results.find(({ name, runs }) => name === base && runs.length > 0);
  const rows = results.map((result) => {
    if (result.missing.length > 0) return [result.name, `missing: ${result.missing.join(', ')}`, '', '', '', ''];
    const seconds = result.runs.map((run) => run.seconds);
    const ratio = reference ? (median(result) / median(reference)).toFixed(2) : '';
    const spread = `${Math.min(...seconds).toFixed(2)}–${Math.max(...seconds).toFixed(2)}`;
    const peak = Math.max(...result.runs.map((run) => run.peak));
    return [result.name, median(result).toFixed(2), ratio, spread, megabytes(result.bytes), megabytes(peak)];
  });
  return table(['what', 'median s', `× ${base}`, 'spread s', 'MB', 'peak MB'], rows);
}

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
