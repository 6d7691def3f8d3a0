import { join } from 'node:path';
import { defineConfig } from 'vite';

const server = 'http://127.0.0.1:4000';
const document = (name: string) => join(import.meta.dirname, name);

/** The build of the pages, and `npm run dev:admin`: the pages from their sources, the API from a server on port 4000. */
export default defineConfig({
  // Files name each other by where they lie; in the documents, the server puts its own path before them.
  base: './',
  // The server puts a fresh value in place of it each time that it sends a document.
  html: { cspNonce: '__CSP_NONCE__' },
  build: {
    // A `data:` script or style would not be of this server.
    assetsInlineLimit: 0,
    target: 'es2022',
    reportCompressedSize: false,
    // The code editor of the API explorer is as large as it is; the admin page loads none of it.
    chunkSizeWarningLimit: 10_000,
    rolldownOptions: {
      input: { index: document('index.html'), graphql: document('graphql.html') },
      // Each file of the component library says "use client", which means nothing here.
      onwarn: (warning, warn) => warning.code !== 'MODULE_LEVEL_DIRECTIVE' && warn(warning),
    },
  },
  server: {
    proxy: { '^/graphql$': { target: server, ws: true }, '/api': server, '/healthz': server },
  },
});
