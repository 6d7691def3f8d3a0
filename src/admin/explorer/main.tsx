import './nonce.js';
import 'graphiql/setup-workers/vite';
// Not the sheet of all, which holds fonts as `data:` that the page's policy refuses; the fonts of the system will do.
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import 'graphiql/graphiql.css';
import './explorer.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Explorer } from './explorer.js';

createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <Explorer />
  </StrictMode>,
);
