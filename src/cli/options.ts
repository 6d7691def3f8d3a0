import type { Engines } from '../core/ports.js';
import { InvalidArgumentError } from 'commander';
import { resolve } from 'node:path';
import { absoluteFileUrl } from '../environment.js';
import type { RunStatus } from '../models/index.js';

/** Parses a positive whole number. */
export function whole(value: string): number {
  if (!/^[1-9]\d{0,8}$/.test(value)) throw new InvalidArgumentError('It is not a positive whole number.');
  return Number(value);
}

/** Parses a date, or a date and time; without a zone it is UTC. */
export function date(value: string): Date {
  const zoned = /T.*(Z|[+-]\d\d:?\d\d)$/.test(value)
    ? value
    : `${value.replace(' ', 'T')}${value.length > 10 ? 'Z' : ''}`;
  const at = new Date(zoned);
  if (Number.isNaN(at.getTime())) throw new InvalidArgumentError('Write it like 2025-07-24 or 2025-07-24T14:30:22Z.');
  return at;
}

/** The states of a run that a list shows unless others are asked for. */
export const RUN_STATUSES = ['PENDING', 'RUNNING', 'COMPLETED', 'FAILED'] satisfies RunStatus[];

/** Parses one of some words, in any case. */
export function oneOf<Word extends string>(words: readonly Word[]) {
  return (value: string): Word => {
    const found = words.find((word) => word === value.toUpperCase());
    if (found === undefined) throw new InvalidArgumentError(`Choose from ${words.join(', ')}.`);
    return found;
  };
}

/** As `oneOf`, and collects what is given. */
export function someOf<Word extends string>(words: readonly Word[]) {
  return (value: string, before: Word[] | undefined): Word[] => [...(before ?? []), oneOf(words)(value)];
}

/** The URL of a database that a command names: by a URL, or by the path of its file. */
export function databaseUrl(target: string, engines: Engines): string {
  const isUrl = /^[a-z][a-z0-9+.-]+:/i.test(target);
  return isUrl ? absoluteFileUrl(target, process.cwd()) : engines.urlOfFile(resolve(target));
}
