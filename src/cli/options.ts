import { InvalidArgumentError } from 'commander';

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
