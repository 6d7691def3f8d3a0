import js from '@eslint/js';
import reactHooks from 'eslint-plugin-react-hooks';
import tseslint from 'typescript-eslint';

/**
 * Who may import whom inside src/. One row per folder or file: what it may import of ours, and why nothing else.
 * `architecture.test.ts` checks the same table on the real files, so that a rule cannot be switched off by a comment.
 */
export const importRules = {
  errors: { may: [], why: 'the catalogue stands below everything' },
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
  archive: { may: ['disk', 'errors'], why: 'the format must be readable without the product around it' },
  models: { may: ['errors', 'archive'], why: 'records hold facts, not work' },
  core: {
    may: ['models', 'archive', 'disk', 'errors', 'file-locks', 'log'],
    why: 'the domain knows no transport and no vendor',
  },
  engines: {
    may: ['core/ports', 'archive', 'disk', 'errors', 'file-locks'],
    why: 'an engine is exchangeable: it sees only its port',
  },
  storages: {
    may: ['core/ports', 'archive', 'disk', 'errors'],
    why: 'a storage is exchangeable: it sees only its port',
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
      'version',
    ],
    why: 'a command calls the same domain as the API',
  },
  sample: { may: ['errors'], why: 'the sample is an application like any other: it knows nothing of the product' },
  graphql: { may: ['core', 'models', 'auth', 'errors', 'log'], why: 'resolvers translate, they do not work' },
  admin: { may: ['client/generated/graphql'], why: 'the page uses the public API like any other client' },
  client: { may: [], why: 'a client knows nothing of the server but its schema' },
  http: { may: ['core', 'auth', 'errors', 'log'], why: 'routes translate, they do not work' },
  app: { may: ['*'], why: 'the composition root is the only file that knows every folder' },
  'first-start': { may: ['app', 'core', 'models', 'sample'], why: 'it uses the composed product as a user would' },
  process: { may: ['exit-codes', 'errors', 'log'], why: 'how a process starts and ends, whatever it does' },
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

const boundaries = {
  meta: { type: 'problem', schema: [] },
  create(context) {
    const match = /\/src\/([^/]+?)(?:\.tsx?|\/.*)$/.exec(context.filename.replaceAll('\\', '/'));
    const own = match?.[1];
    const rule = own === undefined ? undefined : importRules[own];
    if (rule === undefined || rule.may.includes('*')) return {};
    const check = (node) => {
      const target = node.source?.value;
      if (typeof target !== 'string' || !target.startsWith('.')) return;
      const path = new URL(target, `file://${context.filename}`).pathname.replace(/\.(js|tsx?)$/, '');
      const inside = path.slice(path.lastIndexOf('/src/') + 5);
      const folder = inside.split('/')[0];
      if (folder === own || !folders.includes(folder)) return;
      if (rule.may.includes(folder) || rule.may.includes(inside)) return;
      context.report({ node, message: `${own} may not import ${inside}: ${rule.why}.` });
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
