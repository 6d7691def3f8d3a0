import { AppError } from '../errors.js';

/** A config's id as a number. @throws AppError NOT_FOUND naming the field, for what cannot be one */
export function configId(id: string, field = 'id'): number {
  if (/^[1-9]\d{0,8}$/.test(id)) return Number(id);
  throw new AppError('NOT_FOUND', `${field}: there is no config "${shown(id)}".`, { field });
}

/** As `configId`, for a field that may be left out. */
export function optionalConfigId(id: string | null | undefined): number | undefined {
  return id === null || id === undefined ? undefined : configId(id, 'configId');
}

/** A user's id as a number. @throws AppError NOT_FOUND naming the field, for what cannot be one */
export function userId(id: string, field = 'id'): number {
  if (/^[1-9]\d{0,8}$/.test(id)) return Number(id);
  throw new AppError('NOT_FOUND', `${field}: there is no user "${shown(id)}".`, { field });
}

/** An API token's id as a number. @throws AppError NOT_FOUND naming the field, for what cannot be one */
export function apiTokenId(id: string, field = 'id'): number {
  if (/^[1-9]\d{0,8}$/.test(id)) return Number(id);
  throw new AppError('NOT_FOUND', `${field}: there is no API token "${shown(id)}".`, { field });
}

/** A destination's id as a number. @throws AppError NOT_FOUND naming the field, for what cannot be one */
export function destinationId(id: string, field = 'id'): number {
  if (/^[1-9]\d{0,8}$/.test(id)) return Number(id);
  throw new AppError('NOT_FOUND', `${field}: there is no destination "${shown(id)}".`, { field });
}

/** A channel's id as a number. @throws AppError NOT_FOUND naming the field, for what cannot be one */
export function channelId(id: string, field = 'id'): number {
  if (/^[1-9]\d{0,8}$/.test(id)) return Number(id);
  throw new AppError('NOT_FOUND', `${field}: there is no channel "${shown(id)}".`, { field });
}

/** An encryption key's id as a number. @throws AppError NOT_FOUND naming the field, for what cannot be one */
export function keyId(id: string, field = 'id'): number {
  if (/^[1-9]\d{0,8}$/.test(id)) return Number(id);
  throw new AppError('NOT_FOUND', `${field}: there is no encryption key "${shown(id)}".`, { field });
}

/** The id of a backup, a restore or a verification, whole. @throws AppError NOT_FOUND naming the field, for what cannot be one */
export function runId(id: string, field = 'id'): string {
  if (isRunId(id)) return id;
  throw new AppError('NOT_FOUND', `${field}: there is no record "${shown(id)}".`, { field });
}

/** True for what has the form of such an id. */
export function isRunId(id: string): boolean {
  return /^\w{1,64}$/.test(id);
}

const shown = (id: string) => (id.length > 80 ? `${id.slice(0, 80)}…` : id);
