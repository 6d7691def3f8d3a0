import type { FragmentDefinitionNode, GraphQLResolveInfo, SelectionSetNode } from 'graphql';

/** The names of the fields that are asked for in the answer of this field, fragments resolved. */
export function selectedFields({ fieldNodes, fragments }: GraphQLResolveInfo): Set<string> {
  const names = new Set<string>();
  for (const { selectionSet } of fieldNodes) addNames(selectionSet, fragments, names);
  return names;
}

function addNames(
  set: SelectionSetNode | undefined,
  fragments: Record<string, FragmentDefinitionNode>,
  names: Set<string>,
): void {
  for (const node of set?.selections ?? []) {
    if (node.kind === 'Field') names.add(node.name.value);
    else if (node.kind === 'InlineFragment') addNames(node.selectionSet, fragments, names);
    else addNames(fragments[node.name.value]?.selectionSet, fragments, names);
  }
}
