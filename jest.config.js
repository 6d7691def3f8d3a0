import { swc } from './dev/swc.mjs';

// Several nodes in one process: threads that wait for a lock of SQLite must leave one for the node that holds it.
process.env.UV_THREADPOOL_SIZE ??= '16';

/**
 * One project of tests. Jest takes `testTimeout` only for all projects together, so test/support/timeout.ts sets it.
 * @param testMatch below test/
 * @param options.shareOfCases how many of its random cases a test tries, see test/support/cases.ts
 */
const project = (displayName, testMatch, { minutes = 1.5, except = [], shareOfCases = 1 } = {}) => ({
  displayName,
  testEnvironment: 'node',
  roots: ['<rootDir>/src', '<rootDir>/test'],
  testMatch: testMatch.map((pattern) => `<rootDir>/test/${pattern}`),
  testPathIgnorePatterns: ['/node_modules/', ...except.map((path) => `<rootDir>/test/${path}`)],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: { '^.+\\.ts$': ['@swc/jest', swc] },
  globals: { TEST_TIMEOUT: minutes * 60_000, SHARE_OF_CASES: shareOfCases },
  setupFilesAfterEnv: ['<rootDir>/test/support/timeout.ts'],
});

/** Each needs a folder of its own: what they test takes servers, a browser, a build or minutes. */
const APART = ['browser', 'cluster', 'kill', 'large', 'properties', 'servers'];

/** Of more than 13 seconds each on two cores: the default tests take less than five minutes. */
const SLOW = [
  // Start the product as a process for every case, or build it.
  'cli/audit.test.ts',
  'cli/channels.test.ts',
  'cli/commands.test.ts',
  'cli/consolidate.test.ts',
  'cli/doctor.test.ts',
  'cli/guard.test.ts',
  'cli/import.test.ts',
  'cli/keys.test.ts',
  'cli/odd-disk.test.ts',
  'cli/reconcile.test.ts',
  'cli/schedule.test.ts',
  'cli/start.test.ts',
  'first-start.test.ts',
  'graphql/insight.test.ts',
  'graphql/repair.test.ts',
  'http/process.test.ts',
  'jobs/sqlite.test.ts',
  'mcp/mcp.test.ts',
  // Make chains of backups of a whole application for every case.
  'core/backups/consolidate.test.ts',
  'core/backups/incremental.test.ts',
  'core/notifications/outbox.test.ts',
  // Wait for passwords to be hashed, for schedules to be due, or for connections to be given up.
  'auth/auth.test.ts',
  'cli/status.test.ts',
  'core/schedules/scheduler.test.ts',
  'graphql/subscriptions.test.ts',
  // Big: whole installations, every day of a year, paths and trees as large as the system allows, a hundred thousand rows.
  'core/recovery/chains.test.ts',
  'core/recovery/recovery.test.ts',
  'core/retention/consolidations.test.ts',
  'core/retention/year.test.ts',
  'core/restores/media/deep.test.ts',
  'core/restores/media/many.test.ts',
  'core/status/history.test.ts',
  'graphql/lists.test.ts',
  'graphql/media.test.ts',
  'graphql/retention.test.ts',
  'models/portable.test.ts',
  // Whole round trips in many variants. `default` has the plain ones: core/backups/backups, core/restores/restores.
  'archive/folder.test.ts',
  'archive/repacked.test.ts',
  'core/anomalies/gate.test.ts',
  'core/backups/copies.test.ts',
  'core/backups/damaged.test.ts',
  'core/backups/encrypted.test.ts',
  'core/backups/recover.test.ts',
  'core/invariants/invariants.test.ts',
  'core/verifications/verifications.test.ts',
  'core/configs/places.test.ts',
  'core/recovery/kit.test.ts',
  'core/drills/drill.test.ts',
  'core/drills/reports.test.ts',
  'core/drills/schedule.test.ts',
  'core/restores/media/media.test.ts',
  'core/restores/media/races.test.ts',
  'core/restores/origins.test.ts',
  'core/restores/space.test.ts',
  'core/restores/tables.test.ts',
  'engines/sqlite/changes.test.ts',
  'engines/sqlite/findings.test.ts',
  'engines/sqlite/index-compare.test.ts',
  'engines/sqlite/own-functions.test.ts',
  'engines/sqlite/sources.test.ts',
];

/*
 * The npm scripts name this file after the project: a path right after `--selectProjects default` would be taken for a second
 * project.
 */
export default {
  // `npm run test:coverage`; the report of every line is coverage/index.html.
  coverageProvider: 'v8',
  coverageReporters: ['text-summary', 'html'],
  // Without the page, which only a browser runs.
  collectCoverageFrom: ['src/**/*.ts', '!src/admin/**', '!src/client/generated/**'],
  maxWorkers: '100%',
  // Modules of a test file stay in memory after it: a worker that holds this much makes way for a new one.
  workerIdleMemoryLimit: '400MB',
  projects: [
    project('default', ['**/*.test.ts'], {
      except: [...APART.map((folder) => `${folder}/`), ...SLOW],
      shareOfCases: 0.03,
    }),
    project('slow', SLOW, { minutes: 3 }),
    project('browser', ['browser/*.test.ts'], { minutes: 4 }),
    project('cluster', ['cluster/*.test.ts'], { minutes: 10 }),
    project('kill', ['kill/*.test.ts'], { minutes: 60 }),
    project('large', ['large/*.test.ts'], { minutes: 30 }),
    project('properties', ['properties/*.test.ts', '**/*.properties.test.ts'], { minutes: 30 }),
    project('servers', ['servers/*.test.ts'], { minutes: 8 }),
  ],
};
