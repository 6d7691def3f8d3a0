import { type GraphiQLPlugin, useGraphiQL, useGraphiQLActions } from '@graphiql/react';
import { type Example, examplesOf, WELCOME } from './examples.js';

const FILES = import.meta.glob<string>('../../../schema/operations/*.graphql', {
  query: '?raw',
  import: 'default',
  eager: true,
});

const ALL = examplesOf(Object.values(FILES));

const KINDS: [Example['kind'], string][] = [
  ['query', 'Queries'],
  ['mutation', 'Mutations'],
  ['subscription', 'Subscriptions'],
];

/** The example operations, beside the editor. */
export const EXAMPLES: GraphiQLPlugin = { title: 'Examples', icon: Icon, content: ExampleList };

function Icon() {
  return (
    <svg viewBox="0 0 24 24" width="24" height="24" fill="none" stroke="currentColor" strokeWidth="1.6" aria-hidden>
      <path d="M4 6h16M4 12h16M4 18h10" strokeLinecap="round" />
    </svg>
  );
}

function ExampleList() {
  const open = useOpen();
  return (
    <section aria-label="Examples" className="explorer-examples">
      <h2>Examples</h2>
      {KINDS.map(([kind, title]) => (
        <div key={kind}>
          <h3>{title}</h3>
          <ul>
            {ALL.filter((example) => example.kind === kind).map((example) => (
              <li key={example.name}>
                <button type="button" disabled={open === null} onClick={() => open?.(example)}>
                  {example.name}
                </button>
                {example.about !== '' && <p>{example.about}</p>}
              </li>
            ))}
          </ul>
        </div>
      ))}
    </section>
  );
}

/** Opens an example in a tab of its own, or in the first one as long as it is untouched; null while the editors load. */
function useOpen(): ((example: Example) => void) | null {
  const { addTab } = useGraphiQLActions();
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  if (queryEditor === undefined || variableEditor === undefined) return null;
  return ({ query, variables }) => {
    if (queryEditor.getValue() !== WELCOME) addTab();
    queryEditor.setValue(query);
    variableEditor.setValue(variables);
  };
}
