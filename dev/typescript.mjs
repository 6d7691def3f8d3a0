import { register } from 'node:module';

// `node --import ./dev/typescript.mjs src/server.ts`: runs TypeScript as it stands.
register('./hooks.mjs', import.meta.url);
