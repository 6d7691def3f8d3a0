import js from '@eslint/js';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/** What every folder of the domain may import. */
const CORE = [
  'models',
  'archive',
  'disk',
  'errors',
  'file-locks',
  'log',
  'core/audit',
  'core/audit-trail',
  'core/environment',
  'core/ports',
  'core/sealed-url',
  'core/secrets',
  'core/text',
];

/**
 * Who may import whom inside src/, types included. One row per folder or file: what it may import of ours, and why nothing
 * else. The most specific row counts. `architecture.test.ts` checks the same table on the real files, so that a rule cannot be switched off by a comment.
 */
export const importRules = {
  errors: { may: [], why: 'the catalogue stands below everything' },
  modules: { may: [], why: 'which file a module is does not depend on what it does' },
  memory: { may: [], why: 'how memory is given back is one small thing of its own' },
  threads: { may: ['modules'], why: 'how a module is started in a thread is one small thing of its own' },
  child: { may: ['errors', 'modules'], why: 'how a module is started in a process is one small thing of its own' },
  disk: { may: ['errors'], why: 'what file systems differ in is one small thing of its own' },
  'file-locks': { may: [], why: 'the locks of a process are one, whoever opens files in it' },
  log: { may: ['errors'], why: 'logging knows nothing of the product' },
  environment: {
    // Whatever will use a value judges it, so that all problems can be reported at once.
    may: ['disk', 'env-file', 'errors', 'auth/public-key', 'core/schedules/cron'],
    why: 'the only reader of the environment; it decides nothing',
  },
  'env-file': {
    may: ['core/text/near', 'errors'],
    why: 'how a file of settings is written is apart from what they mean',
  },
  archive: {
    may: ['disk', 'errors', 'memory', 'threads'],
    why: 'the format must be readable without the product around it',
  },
  models: { may: ['errors', 'archive'], why: 'records hold facts, not work' },
  core: {
    may: [...CORE],
    why: 'the domain knows no transport and no vendor',
  },
  // One row per folder of the domain, lowest first: a folder sees only those above it in this table.
  'core/text': { may: [], why: 'formatting is pure' },
  'core/lists': { may: [...CORE], why: 'a list is a query' },
  'core/runs': { may: [...CORE], why: 'a run does not know what it does' },
  'core/schedules': { may: [...CORE, 'core/runs'], why: 'when something is due is apart from what is done then' },
  'core/anomalies': { may: [...CORE], why: 'what is unusual is told by facts, whatever made them' },
  'core/invariants': { may: [...CORE], why: 'a question and its answer, whoever asks' },
  'core/commands': { may: [...CORE], why: 'how a command is found and run is apart from what it is for' },
  'core/hooks': {
    may: [...CORE, 'core/commands', 'core/runs'],
    why: 'what runs around a run does not know what the run does',
  },
  'core/keys': { may: [...CORE], why: 'a key does not know what is sealed for it' },
  'core/archives': { may: [...CORE, 'core/lists', 'core/runs'], why: 'stored bytes are read alike, whatever for' },
  'core/retention': {
    may: [...CORE, 'core/archives', 'core/runs', 'core/schedules'],
    why: 'a policy decides on facts; what deletes is handed in',
  },
  'core/configs': {
    may: [
      ...CORE,
      'core/archives',
      'core/commands',
      'core/invariants',
      'core/keys',
      'core/retention',
      'core/runs',
      'core/schedules',
    ],
    why: 'what is protected is settled before anything is backed up',
  },
  'core/destinations': {
    may: [...CORE, 'core/configs', 'core/keys'],
    why: 'a destination is one place, whatever is stored there',
  },
  'core/discovery': { may: [...CORE, 'core/lists'], why: 'looking around changes nothing and needs no config' },
  'core/backups': {
    may: [
      ...CORE,
      'core/anomalies',
      'core/archives',
      'core/configs',
      'core/hooks',
      'core/invariants',
      'core/keys',
      'core/runs',
      'core/schedules',
    ],
    why: 'a backup does not depend on restores',
  },
  'core/recovery': {
    may: [
      ...CORE,
      'core/archives',
      'core/backups',
      'core/configs',
      'core/destinations',
      'core/keys',
      'core/retention',
      'core/runs',
      'core/schedules',
    ],
    why: 'what gets everything back makes use of what made it',
  },
  'core/restores/media': {
    may: [...CORE, 'core/configs'],
    why: 'how files are swapped is apart from the run that swaps them',
  },
  'core/restores': {
    may: [
      ...CORE,
      'core/archives',
      'core/backups',
      'core/configs',
      'core/hooks',
      'core/invariants',
      'core/keys',
      'core/restores/media',
      'core/runs',
    ],
    why: 'a restore makes its safety backup, not the other way round',
  },
  'core/drills': {
    may: [
      ...CORE,
      'core/archives',
      'core/commands',
      'core/configs',
      'core/invariants',
      'core/restores',
      'core/restores/media',
      'core/runs',
    ],
    why: 'a drill takes the steps of a restore, and nothing of it reaches a real target',
  },
  'core/verifications': {
    may: [...CORE, 'core/archives', 'core/backups', 'core/drills', 'core/invariants', 'core/keys', 'core/runs'],
    why: 'a verification reads what backups have stored',
  },
  'core/insight': {
    may: [
      ...CORE,
      'core/archives',
      'core/backups',
      'core/configs',
      'core/drills',
      'core/invariants',
      'core/restores',
      'core/runs',
    ],
    why: 'looking into backups changes nothing; a server is looked at in a scratch database, as a drill does',
  },
  'core/status': { may: [...CORE, 'core/schedules'], why: 'it reads records and changes nothing' },
  'core/notifications': {
    may: [...CORE, 'core/runs', 'core/schedules', 'core/status'],
    why: 'who is told follows from what happened, not the other way round',
  },
  engines: {
    may: ['core/ports', 'core/text/patterns', 'archive', 'child', 'disk', 'errors', 'file-locks', 'threads'],
    why: 'an engine is exchangeable: it sees only its port, and what patterns mean',
  },
  storages: {
    may: ['core/ports', 'archive', 'disk', 'errors'],
    why: 'a storage is exchangeable: it sees only its port',
  },
  notifications: {
    may: ['core/ports', 'core/text/html', 'errors'],
    why: 'a service that takes messages is exchangeable: it sees only its port',
  },
  jobs: { may: ['core', 'errors', 'log'], why: 'a job only calls the domain' },
  auth: { may: ['core', 'models', 'errors'], why: 'who may enter is decided apart from how they come' },
  cli: {
    // models: the rows that it prints; server and worker: the commands `serve` and `worker` are those processes.
    may: [
      'app',
      'archive/make-folder',
      'environment',
      'exit-codes',
      'core',
      'models',
      'first-start',
      'server',
      'worker',
      'errors',
      'log',
      'memory',
      'version',
    ],
    why: 'a command calls the same domain as the API',
  },
  sample: { may: ['errors'], why: 'the sample is an application like any other: it knows nothing of the product' },
  graphql: { may: ['core', 'models', 'auth', 'errors', 'log'], why: 'resolvers translate, they do not work' },
  admin: {
    // Two pure files: the page offers as a choice what the server has words for, and writes sizes as it does.
    may: ['client/generated/graphql', 'core/schedules/shape', 'core/text/format', 'core/text/row-key'],
    why: 'the page uses the public API like any other client',
  },
  client: { may: [], why: 'a client knows nothing of the server but its schema' },
  http: { may: ['archive/format', 'core', 'auth', 'errors', 'log'], why: 'routes translate, they do not work' },
  mcp: {
    may: ['auth', 'client/generated/graphql', 'errors', 'graphql/server'],
    why: 'an assistant uses the public API like any other client',
  },
  app: { may: ['*'], why: 'the composition root is the only file that knows every folder' },
  'first-start': { may: ['app', 'core', 'models', 'sample'], why: 'it uses the composed product as a user would' },
  process: { may: ['exit-codes', 'errors', 'log', 'memory'], why: 'how a process starts and ends, whatever it does' },
  'exit-codes': { may: ['errors'], why: 'what a process says by its end' },
  'emit-errors': {
    may: ['errors', 'exit-codes', 'http/error-handler'],
    why: 'the page of errors is made of the catalogue and the numbers of its codes',
  },
  version: { may: [], why: 'one fact' },
  start: { may: [], why: 'it runs before anything is built' },
  server: { may: ['app', 'environment', 'first-start', 'process'], why: 'a process composes nothing itself' },
  worker: { may: ['app', 'environment', 'first-start', 'process'], why: 'a process composes nothing itself' },
};

const folders = Object.keys(importRules);
const isIn = (path, folder) => path === folder || path.startsWith(`${folder}/`);

/** The most specific row for a path below src (without its ending), or undefined. */
export const ruleOf = (path) => folders.filter((folder) => isIn(path, folder)).sort((a, b) => b.length - a.length)[0];

/** True if a file of the row `own` may import `path`. */
export function mayImport(own, path) {
  const target = ruleOf(path);
  if (target === undefined || target === own) return true;
  return importRules[own].may.some((allowed) => allowed === '*' || isIn(path, allowed));
}

const boundaries = {
  meta: { type: 'problem', schema: [] },
  create(context) {
    const file = /\/src\/(.+?)\.tsx?$/.exec(context.filename.replaceAll('\\', '/'))?.[1];
    const own = file === undefined ? undefined : ruleOf(file);
    if (own === undefined) return {};
    const check = (node) => {
      const target = node.source?.value;
      if (typeof target !== 'string' || !target.startsWith('.')) return;
      const path = new URL(target, `file://${context.filename}`).pathname.replace(/\.(js|tsx?)$/, '');
      const inside = path.slice(path.lastIndexOf('/src/') + 5);
      if (mayImport(own, inside)) return;
      context.report({ node, message: `${own} may not import ${inside}: ${importRules[own].why}.` });
    };
    return { ImportDeclaration: check, ExportNamedDeclaration: check, ExportAllDeclaration: check };
  },
};

const environmentReaders = ['src/environment.ts', 'src/start.mjs', 'test/**'];

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'src/client/generated/', 'artefacts/', 'data/', 'backups/', 'coverage/'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    plugins: { ours: { rules: { boundaries } } },
    rules: {
      'ours/boundaries': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: ['src/**/*.{ts,tsx,mjs}'],
    ignores: environmentReaders,
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'env', message: 'Only environment.ts reads the environment.' },
      ],
    },
  },
  { files: ['src/admin/**/*.{ts,tsx}'], ...reactHooks.configs.flat.recommended },
  {
    files: ['src/**/*.{type,input,resolver}.ts'],
    rules: { '@typescript-eslint/consistent-type-imports': 'off' },
  },
  {
    files: ['**/*.{js,mjs}'],
    languageOptions: {
      globals: {
        AbortController: 'readonly',
        process: 'readonly',
        URL: 'readonly',
        setTimeout: 'readonly',
        console: 'readonly',
      },
    },
    rules: { 'no-undef': 'error' },
  },
);
