/* How long the API takes to answer in a large installation. CONTROL_DATABASE_URL names an empty PostgreSQL to use. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { quantile, table } from './measure.mjs';
import { fillRecords } from './records.mjs';
import { startServer } from './server.mjs';

/** How often each question is asked. */
const TIMES = 15;
/** How many questions are under way at the same time when they are counted, and how many there are. */
const CLIENTS = 8;
const REQUESTS = 2_000;

const NODES = 'nodes { id status createdAt fileName fileSize config { name } copies { status } }';
const backups = (args) => `{ backups(first: 50${args}) { ${NODES} pageInfo { endCursor hasNextPage } } }`;
const CONFIGS = 'configConnection(first: 50) { totalCount nodes { id name health { lastSuccessAt overdue } } }';

const questions = (deep) => ({
  'status, as the page polls it':
    '{ status { health reasons { code message } nodes pending running lastBackupEndedAt } }',
  'status with usage and counts': '{ status { health storages { used count } backupCounts { status count } } }',
  'configs: all, id and name': '{ configs { id name } }',
  'configs: all, as in the example': '{ configs { id name databaseUrl scheduleInWords nextRunAt } }',
  'configs: first page with health': `{ ${CONFIGS} }`,
  'configs: search': '{ configConnection(first: 50, search: "shop 77") { nodes { id name } } }',
  'backups: first page': backups(''),
  'backups: page after nine tenths': backups(`, after: "${deep}"`),
  'backups: search, some': backups(', filter: {search: "version 45"}'),
  'backups: search, none': backups(', filter: {search: "no such text"}'),
  'backups: search, all': backups(', filter: {search: "backup"}'),
  'backups: of one config': backups(', filter: {configId: 7}'),
  'backups: FAILED': backups(', filter: {status: [FAILED]}'),
  'backups: FAILED and searched': backups(', filter: {status: [FAILED], search: "bytes left"}'),
  'backups: UPLOADED': backups(', filter: {backupType: [UPLOADED]}'),
  'backups: of a storage': backups(', filter: {storageType: [SYSTEM]}'),
  'backups: since yesterday': backups(`, filter: {createdAfter: "${new Date(Date.now() - 86_400_000).toISOString()}"}`),
  'backups: largest first': backups(', orderBy: FILE_SIZE_DESC'),
  'backups: totalCount': '{ backups(first: 1) { totalCount } }',
});

export async function listsSection(folder, { configs, backups: count }) {
  const place = join(folder, 'lists');
  await mkdir(place, { recursive: true });
  const url = process.env.CONTROL_DATABASE_URL;
  const server = await startServer(place, url ? { CONTROL_DATABASE_URL: url } : {});
  try {
    await fillRecords(server.app, place, { configs, backups: count });
    const rows = [];
    for (const [name, query] of Object.entries(questions(await deepCursor(server, count * 0.9)))) {
      const first = await timed(() => server.ask(query));
      const times = [];
      for (let i = 0; i < TIMES; i++) times.push(await timed(() => server.ask(query)));
      rows.push([name, ...[first, quantile(times, 0.5), quantile(times, 0.9)].map((ms) => ms.toFixed(1))]);
    }
    const seconds = (await timed(() => inParallel(server, '{ backups(first: 10) { nodes { id status } } }'))) / 1_000;
    const dialect = server.app.models.sequelize.getDialect();
    const { maxRSS } = process.resourceUsage();
    return [
      `### Answers with ${configs} configs and ${count} backups on ${dialect}`,
      table(['question', 'first ms', 'median ms', 'p90 ms'], rows),
      `${(REQUESTS / seconds).toFixed(0)} requests per second (10 backups, ${CLIENTS} clients); peak memory ` +
        `${(maxRSS / 1e3).toFixed(0)} MB, client included.`,
    ];
  } finally {
    await server.close();
    await rm(place, { recursive: true, force: true });
  }
}

async function timed(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** The position that a client comes to page by page. */
async function deepCursor({ ask }, rows) {
  let after = null;
  for (let seen = 0; seen < rows; seen += 500) {
    const answer = await ask(`{ backups(first: 500, after: ${JSON.stringify(after)}) { pageInfo { endCursor } } }`);
    after = answer.backups.pageInfo.endCursor ?? after;
  }
  return after;
}

async function inParallel({ ask }, query) {
  let left = REQUESTS;
  const client = async () => {
    while (left-- > 0) await ask(query);
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
}
