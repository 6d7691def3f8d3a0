/** Translates the tests and src/ alike; test/cli/command.ts uses the same options for the processes that it starts. */
export const swc = {
  jsc: {
    target: 'es2022',
    parser: { syntax: 'typescript', decorators: true },
    transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
    keepClassNames: true,
  },
  module: { type: 'es6' },
};

/**
 * One project of tests. Jest takes `testTimeout` only for all projects together, so test/support/timeout.ts sets it.
 * @param testMatch below test/
 */
const project = (displayName, testMatch, { minutes = 1.5, except = [] } = {}) => ({
  displayName,
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: testMatch.map((pattern) => `<rootDir>/test/${pattern}`),
  testPathIgnorePatterns: ['/node_modules/', ...except.map((path) => `<rootDir>/test/${path}`)],
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: { '^.+\\.ts$': ['@swc/jest', swc] },
  globals: { TEST_TIMEOUT: minutes * 60_000 },
  setupFilesAfterEnv: ['<rootDir>/test/support/timeout.ts'],
});

/** Each needs a folder of its own: what they test takes servers, a browser, a build or minutes. */
const APART = ['browser', 'cluster', 'kill', 'large', 'properties', 'servers'];

/** Start the product as a process again and again, or build it: more than 20 seconds each. `npm run test:process`. */
const PROCESS = [
  'cli/commands.test.ts',
  'cli/import.test.ts',
  'cli/odd-disk.test.ts',
  'cli/reconcile.test.ts',
  'cli/schedule.test.ts',
  'cli/start.test.ts',
];

/*
 * The npm scripts name a project and then `--maxWorkers`: a path right after `--selectProjects default` would be taken for a
 * second project.
 */
export default {
  // Modules of a test file stay in memory after it: a worker that holds this much makes way for a new one.
  workerIdleMemoryLimit: '400MB',
  projects: [
    project('default', ['**/*.test.ts'], { except: [...APART.map((folder) => `${folder}/`), ...PROCESS] }),
    project('process', PROCESS, { minutes: 3 }),
    project('browser', ['browser/*.test.ts'], { minutes: 4 }),
    project('cluster', ['cluster/*.test.ts'], { minutes: 10 }),
    project('kill', ['kill/*.test.ts'], { minutes: 60 }),
    project('large', ['large/*.test.ts'], { minutes: 30 }),
    project('properties', ['properties/*.test.ts'], { minutes: 30 }),
    project('servers', ['servers/*.test.ts']),
  ],
};
