import { defineConfig } from 'vite';

const server = 'http://127.0.0.1:4000';

/** The build of the page, and `npm run dev:admin`: the page from its sources, the API from a server on port 4000. */
export default defineConfig({
  // The server puts a fresh value in place of it each time that it sends the document.
  html: { cspNonce: '__CSP_NONCE__' },
  build: {
    // A `data:` script or style would not be of this server.
    assetsInlineLimit: 0,
    target: 'es2022',
    reportCompressedSize: false,
    rolldownOptions: {
      // Each file of the component library says "use client", which means nothing here.
      onwarn: (warning, warn) => warning.code !== 'MODULE_LEVEL_DIRECTIVE' && warn(warning),
    },
  },
  server: {
    proxy: { '/graphql': { target: server, ws: true }, '/api': server, '/healthz': server },
  },
});
