import {
  type DefinitionNode,
  type FragmentDefinitionNode,
  Kind,
  type OperationDefinitionNode,
  parse,
  visit,
} from 'graphql';

/** An operation to try, as it stands in schema/operations. */
export interface Example {
  name: string;
  kind: 'query' | 'mutation' | 'subscription';
  /** What its comment says; empty without one. */
  about: string;
  /** The operation with the fragments that it needs. */
  query: string;
  /** Values that its comment suggests, as JSON; empty without any. */
  variables: string;
}

/** What the editor holds at first. */
export const WELCOME = `# Choose an example at the left, or write an operation and run it with Ctrl-Enter.
{
  status {
    health
    reasons {
      message
      hint
    }
  }
}
`;

/** The examples in files of operations. What takes a file cannot be sent from a text, so it is left out. */
export function examplesOf(files: readonly string[]): Example[] {
  const parsed = files.flatMap((text) => parse(text).definitions.map((node) => ({ text, node })));
  const fragments = new Map(
    parsed.flatMap(({ text, node }) =>
      node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, { text, node }] as const] : [],
    ),
  );
  return parsed.flatMap(({ text, node }) => {
    if (node.kind !== Kind.OPERATION_DEFINITION || node.name === undefined || takesFile(node)) return [];
    const comment = commentAbove(text, node);
    const needed = [...fragmentsOf(node, fragments)].flatMap((name) => fragments.get(name) ?? []);
    const query = [sourceOf(text, node), ...needed.map((found) => sourceOf(found.text, found.node))].join('\n\n');
    const { about, variables } = split(comment);
    return [{ name: node.name.value, kind: node.operation, about, query, variables }];
  });
}

const takesFile = ({ variableDefinitions = [] }: OperationDefinitionNode) =>
  variableDefinitions.some(({ type }) => JSON.stringify(type).includes('"Upload"'));

const sourceOf = (text: string, { loc }: DefinitionNode) => text.slice(loc?.start, loc?.end);

/** The names of the fragments that a definition spreads, also through others. */
function fragmentsOf(
  node: DefinitionNode,
  known: ReadonlyMap<string, { node: FragmentDefinitionNode }>,
  found = new Set<string>(),
): Set<string> {
  visit(node, {
    FragmentSpread({ name: { value } }) {
      const fragment = known.get(value);
      if (fragment === undefined || found.has(value)) return;
      found.add(value);
      fragmentsOf(fragment.node, known, found);
    },
  });
  return found;
}

/** The lines of comment that end right above a definition. */
function commentAbove(text: string, { loc }: DefinitionNode): string {
  const lines = text.slice(0, loc?.start).split('\n').slice(0, -1);
  const first = lines.findLastIndex((line) => !line.startsWith('#')) + 1;
  return lines
    .slice(first)
    .map((line) => line.replace(/^#\s?/, ''))
    .join('\n');
}

/** What a comment says, and the first JSON object in it. */
function split(comment: string): { about: string; variables: string } {
  const [json = ''] = /\{.*\}/.exec(comment) ?? [];
  try {
    const variables = JSON.stringify(JSON.parse(json), null, 2);
    return {
      about:
        comment
          .split('\n')[0]
          ?.replace(json, '')
          .replace(/:\s*\.?\s*$/, '.')
          .trim() ?? '',
      variables,
    };
  } catch {
    return { about: comment, variables: '' };
  }
}
