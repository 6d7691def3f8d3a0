/*
 * Figures, no verdicts: `npm run bench`. See docs/performance.md for the sections, the arguments and what each figure means.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { backupSection } from './backup.mjs';
import { compareSection } from './compare.mjs';
import { downloadSection } from './download.mjs';
import { incrementalSection } from './incremental.mjs';
import { listsSection } from './lists.mjs';
import { mediaSection } from './media.mjs';
import { postgresSection } from './postgres.mjs';
import { writerSection } from './writer.mjs';

const SECTIONS = {
  backup: backupSection,
  incremental: incrementalSection,
  media: mediaSection,
  compare: compareSection,
  postgres: postgresSection,
  writer: writerSection,
  lists: listsSection,
  download: downloadSection,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string', default: '540' },
    files: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '3' },
    configs: { type: 'string', default: '10000' },
    backups: { type: 'string', default: '100000' },
    kinds: { type: 'string', default: 'text,uuid,blob' },
    out: { type: 'string' },
  },
});

async function machine() {
  const system = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const name = /PRETTY_NAME="(.*)"/.exec(system)?.[1] ?? process.platform;
  const model = cpus()[0]?.model ?? 'unknown processor';
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  return `${availableParallelism()} cores (${model}), ${memory} GiB, ${name}, Node.js ${process.version}`;
}

const unknown = positionals.filter((section) => !(section in SECTIONS));
if (unknown.length > 0) {
  process.stderr.write(`There is no section ${unknown.join(', ')}. Sections: ${Object.keys(SECTIONS).join(', ')}\n`);
  process.exit(64);
}
const { kinds, out, ...numbers } = values;
const settings = Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, Number(value)]));
const wanted = positionals.length > 0 ? positionals : Object.keys(SECTIONS);
const folder = await mkdtemp(join(tmpdir(), 'db-manager-bench-'));
const report = [`Measured on ${await machine()}; medians of ${settings.rounds} rounds.`];
process.stdout.write(`${report[0]}\n`);
try {
  for (const section of wanted) {
    const parts = await SECTIONS[section](folder, { ...settings, kinds: kinds.split(',') });
    process.stdout.write(`\n${parts.join('\n\n')}\n`);
    report.push(...parts);
  }
  if (out !== undefined) await writeFile(out, `${report.join('\n\n')}\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
