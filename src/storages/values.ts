import { badInput } from '../errors.js';
import type { Values } from './remote-kind.js';

/** The text of a setting; undefined if it is empty or was not given. @throws AppError BAD_USER_INPUT if it is no text */
export function textOf(values: Values, name: string): string | undefined {
  const value = values[name];
  if (value === undefined || value === '') return undefined;
  if (typeof value !== 'string') throw badInput(name, 'is not a text.');
  return value;
}

/** @throws AppError BAD_USER_INPUT if it is missing */
export function neededText(values: Values, name: string): string {
  const text = textOf(values, name);
  if (text === undefined) throw badInput(name, 'is missing.');
  return text;
}

/** @throws AppError BAD_USER_INPUT if it is given and no whole number in the range */
export function wholeOf(values: Values, name: string, min: number, max: number): number | undefined {
  const given = values[name];
  if (given === undefined) return undefined;
  const value = typeof given === 'string' && /^\d{1,9}$/.test(given) ? Number(given) : given;
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw badInput(name, `${String(value)} is not a whole number from ${min} to ${max}.`);
}

/** @throws AppError BAD_USER_INPUT if it is given and neither true nor false */
export function flagOf(values: Values, name: string): boolean {
  const value = String(values[name] ?? false);
  if (value === 'true' || value === 'false') return value === 'true';
  throw badInput(name, 'is neither true nor false.');
}

/** @throws AppError BAD_USER_INPUT for a name that means nothing */
export function assertKnown(values: Values, known: readonly string[]): void {
  const strange = Object.keys(values).find((name) => !known.includes(name) && name !== 'bandwidthLimit');
  if (strange !== undefined) throw badInput(strange, 'is no setting of this storage.', `It has ${known.join(', ')}.`);
}

/** A path inside a place: without slashes at its ends, and without segments that lead elsewhere. @throws AppError BAD_USER_INPUT */
export function innerPath(values: Values, name: string): string {
  const path = (textOf(values, name) ?? '').replace(/^\/+|\/+$/g, '');
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  if (/[\\\u0000-\u001f\u007f]/.test(path)) throw badInput(name, 'holds a backslash or a control character.');
  if (path !== '' && path.split('/').some((part) => part === '' || part === '.' || part === '..')) {
    throw badInput(name, `"${path}" holds an empty segment, "." or "..".`);
  }
  return path;
}
