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

/** True for a template with a place for the secret. */
export const sendsSecret = (template: string): boolean =>
  [...template.matchAll(PLACE)].some(([, name = '']) => name.trim() === 'secret');

/** @throws AppError BAD_USER_INPUT naming `template` */
export function assertTemplate(template: string): void {
  let unknown: string | undefined;
  const look = (value: unknown) => {
    const names = typeof value === 'string' ? [...value.matchAll(PLACE)].map(([, name = '']) => name.trim()) : [];
    unknown ??= names.find((name) => !NAMES.some((known) => known === name));
    return value;
  };
  try {
    JSON.parse(template, (_key, value: unknown) => look(value));
  } catch (error) {
    throw badInput(
      'template',
      `is not JSON: ${(error as Error).message}.`,
      'Write placeholders within quotes: "{{title}}".',
    );
  }
  if (unknown === undefined) return;
  throw badInput('template', `names {{${unknown}}}, which is unknown.`, `There are ${NAMES.join(', ')}.`);
}
