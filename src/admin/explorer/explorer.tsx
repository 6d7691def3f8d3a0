import { GraphiQL, type GraphiQLProps } from 'graphiql';
import { buildSchema, getOperationAST, parse } from 'graphql';
import sdl from '../../../schema/schema.graphql?raw';
import { BASE } from '../base.js';
import { useSession } from '../session.js';
import { EXAMPLES } from './example-list.js';
import { WELCOME } from './examples.js';
import { send, subscribe } from './fetcher.js';

/** Also where introspection is off, and before anyone has signed in. */
const schema = buildSchema(sdl);

const PLUGINS = [EXAMPLES];

const fetcher: GraphiQLProps['fetcher'] = (request, options) => {
  const document = options?.documentAST ?? parse(request.query);
  const operation = getOperationAST(document, request.operationName)?.operation;
  return operation === 'subscription' ? subscribe(request) : send(request, options?.headers);
};

/** The API explorer: GraphiQL of this server, which works without any other one. */
export function Explorer() {
  return (
    <div className="explorer">
      <Bar />
      <main className="explorer-main">
        {/* Kept with the session: what was typed may hold a password, and must not outlive the tab. */}
        <GraphiQL
          fetcher={fetcher}
          schema={schema}
          plugins={PLUGINS}
          visiblePlugin={EXAMPLES}
          defaultQuery={WELCOME}
          storage={window.sessionStorage}
          shouldPersistHeaders={false}
          showPersistHeadersSettings={false}
        >
          <GraphiQL.Logo> </GraphiQL.Logo>
        </GraphiQL>
      </main>
    </div>
  );
}

function Bar() {
  const { session, ended } = useSession();
  return (
    <header className="explorer-bar">
      <h1>
        <img src={`${BASE}/favicon.svg`} width={24} height={24} alt="" /> API explorer
      </h1>
      <p role="status">
        {session === null ? (
          <>
            Not signed in. <a href={`${BASE}/`}>Sign in</a> in this tab, then come back.
          </>
        ) : ended ? (
          <>
            Your session has ended. <a href={`${BASE}/`}>Sign in</a> again, then come back.
          </>
        ) : (
          <>Signed in as {session.email}. Operations are sent with your token and change real data.</>
        )}
      </p>
      <nav aria-label="Elsewhere">
        <a href={`${BASE}/`}>Admin page</a>
        <a href={`${BASE}/graphql?explorer=apollo`}>Apollo Sandbox (needs the internet)</a>
      </nav>
    </header>
  );
}
