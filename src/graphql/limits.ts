import {
  type DocumentNode,
  type FragmentDefinitionNode,
  getNamedType,
  getNullableType,
  type GraphQLField,
  type GraphQLSchema,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  type GraphQLNamedType,
  type FieldNode,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import { AppError } from '../errors.js';

/** What one request may ask for. Sandbox's introspection and the largest page of every list stay well below. */
export const LIMITS = {
  /** Words and signs of the document: also bounds the work of parsing and validating it. */
  tokens: 3_000,
  /** Nested selections. */
  depth: 16,
  /** Fields under another name than their own. */
  aliases: 30,
  /** Fields in the answer at most, where a list counts as many times as its `first`. */
  cost: 100_000,
};

/** How many items a list without `first` is taken to have. */
const PLAIN_LIST = 10;

interface Size {
  depth: number;
  aliases: number;
  cost: number;
}

/**
 * The limit that a valid operation exceeds, or null. Every fragment is measured once for each type it is used on, so
 * that fragments inside fragments cost no more time than they have text.
 */
export function exceededLimit(
  schema: GraphQLSchema,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  variables: Record<string, unknown>,
): AppError | null {
  const root = schema.getRootType(operation.operation);
  if (!root) return null;
  const size = new Measure(schema, document, operation, variables).of(operation.selectionSet, root);
  for (const name of ['depth', 'aliases', 'cost'] as const) {
    if (size[name] <= LIMITS[name]) continue;
    return new AppError(
      'QUERY_TOO_COMPLEX',
      `The ${name} of the request is ${size[name]}; the limit is ${LIMITS[name]}.`,
    );
  }
  return null;
}

class Measure {
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly measured = new Map<string, Size>();
  private readonly defaults = new Map<string, unknown>();

  constructor(
    private readonly schema: GraphQLSchema,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    private readonly variables: Record<string, unknown>,
  ) {
    for (const node of document.definitions) {
      if (node.kind === 'FragmentDefinition') this.fragments.set(node.name.value, node);
    }
    for (const { variable, defaultValue } of operation.variableDefinitions ?? []) {
      if (defaultValue?.kind === 'IntValue') this.defaults.set(variable.name.value, Number(defaultValue.value));
    }
  }

  of({ selections }: SelectionSetNode, type: GraphQLNamedType): Size {
    const total: Size = { depth: 0, aliases: 0, cost: 0 };
    for (const node of selections) {
      const size =
        node.kind === 'Field'
          ? this.field(node, type)
          : node.kind === 'InlineFragment'
            ? this.of(node.selectionSet, this.typeNamed(node.typeCondition?.name.value) ?? type)
            : this.fragment(node.name.value);
      total.depth = Math.max(total.depth, size.depth);
      total.aliases += size.aliases;
      total.cost += size.cost;
    }
    return total;
  }

  private fragment(name: string): Size {
    const known = this.measured.get(name);
    if (known !== undefined) return known;
    const node = this.fragments.get(name);
    const type = this.typeNamed(node?.typeCondition.name.value);
    const size = node && type ? this.of(node.selectionSet, type) : { depth: 0, aliases: 0, cost: 0 };
    this.measured.set(name, size);
    return size;
  }

  private field(node: FieldNode, parent: GraphQLNamedType): Size {
    const aliases = node.alias && node.alias.value !== node.name.value ? 1 : 0;
    const fields = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields() : {};
    const field = fields[node.name.value];
    // Introspection reads no records; graphql itself bounds its depth, and it can be switched off.
    if (field === undefined || !node.selectionSet) return { depth: 1, aliases, cost: 1 };
    const inner = this.of(node.selectionSet, getNamedType(field.type));
    return {
      depth: inner.depth + 1,
      aliases: inner.aliases + aliases,
      cost: 1 + this.times(node, field, parent) * inner.cost,
    };
  }

  /** How many times what is inside the field is answered. */
  private times(node: FieldNode, field: GraphQLField<unknown, unknown>, parent: GraphQLNamedType): number {
    const argument = field.args.find(({ name }) => name === 'first');
    if (argument !== undefined) {
      const given = node.arguments?.find(({ name }) => name.value === 'first')?.value;
      const value =
        given?.kind === 'Variable'
          ? (this.variables[given.name.value] ?? this.defaults.get(given.name.value))
          : given?.kind === 'IntValue'
            ? Number(given.value)
            : undefined;
      return Math.max(1, typeof value === 'number' ? value : Number(argument.defaultValue));
    }
    const isList = isListType(getNullableType(field.type)) && isCompositeType(getNamedType(field.type));
    return isList && !parent.name.endsWith('Connection') ? PLAIN_LIST : 1;
  }

  private typeNamed(name: string | undefined): GraphQLNamedType | undefined {
    return name === undefined ? undefined : this.schema.getType(name);
  }
}
