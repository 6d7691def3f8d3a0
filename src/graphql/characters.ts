import { type DocumentNode, visit } from 'graphql';
import { type AppError, badInput } from '../errors.js';

/**
 * The refusal of a request that holds the character NUL in a text, or null. No name, path or note has it, PostgreSQL cannot
 * store or compare it, and SQLite ends a statement there: so it goes no further than here, wherever the text was meant to go.
 */
export function nulCharacter(document: DocumentNode, variables: Record<string, unknown>): AppError | null {
  const field = inLiterals(document) ?? inVariables(variables);
  return field === null ? null : badInput(field, 'holds the character NUL.', 'Send the text without U+0000.');
}

/** The argument or input field whose literal holds one. */
function inLiterals(document: DocumentNode): string | null {
  let field = 'query';
  let found: string | null = null;
  const name = (node: { name: { value: string } }) => void (field = node.name.value);
  visit(document, {
    Argument: name,
    ObjectField: name,
    Variable: name,
    StringValue: ({ value }) => void (found ??= value.includes('\0') ? field : null),
  });
  return found;
}

/** As `inLiterals`. Goes through a list of its own, because what a client sends may be nested deeper than calls may be. */
function inVariables(variables: Record<string, unknown>): string | null {
  const left = Object.entries(variables);
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    const [field, value] = next;
    if (typeof value === 'string' && value.includes('\0')) return field;
    if (typeof value !== 'object' || value === null) continue;
    for (const [key, inner] of Object.entries(value)) left.push([Array.isArray(value) ? field : key, inner]);
  }
  return null;
}
