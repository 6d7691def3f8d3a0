import { badInput } from '../errors.js';

/** What a template may name between {{ and }}. */
const NAMES = [
  ...(['id', 'event', 'level', 'title', 'message', 'hint', 'cause', 'path', 'link', 'at'] as const),
  ...(['config.id', 'config.name', 'secret'] as const),
] as const;
export type TemplateValues = Record<(typeof NAMES)[number], string>;

const PLACE = /\{\{([^{}]*)\}\}/g;

/**
 * The body that a template makes. What is put in is text within a string of JSON, so that no message changes its form.
 * @param template JSON that `assertTemplate` has taken
 */
export function filledIn(template: string, values: TemplateValues): string {
  const put = (text: string) => text.replace(PLACE, (_, name: string) => values[name.trim() as keyof TemplateValues]);
  return JSON.stringify(
    JSON.parse(template, (_key, value: unknown) => (typeof value === 'string' ? put(value) : value)),
  );
}

/** What a template names, read as `filledIn` reads it: JSON can write a letter in several ways. @throws SyntaxError */
function namesIn(template: string): string[] {
  const names: string[] = [];
  JSON.parse(template, (_key, value: unknown) => {
    if (typeof value === 'string') for (const [, name = ''] of value.matchAll(PLACE)) names.push(name.trim());
    return value;
  });
  return names;
}

/** True for a template with a place for the secret. @param template JSON that `assertTemplate` has taken, or empty */
export const sendsSecret = (template: string): boolean => template !== '' && namesIn(template).includes('secret');

/** @throws AppError BAD_USER_INPUT naming `template` */
export function assertTemplate(template: string): void {
  let names: string[];
  try {
    names = namesIn(template);
  } catch (error) {
    throw badInput(
      'template',
      `is not JSON: ${(error as Error).message}.`,
      'Write placeholders within quotes: "{{title}}".',
    );
  }
  const unknown = names.find((name) => !NAMES.some((known) => known === name));
  if (unknown === undefined) return;
  throw badInput('template', `names {{${unknown}}}, which is unknown.`, `There are ${NAMES.join(', ')}.`);
}
