import { isAbsolute } from 'node:path';
import { badInput } from '../errors.js';
import type { Values } from './remote-kind.js';
import { assertKnown, innerPath, neededText, textOf } from './values.js';

/** A folder of a remote that rclone knows. */
export interface RcloneSettings {
  /** As rclone's configuration names it, without a colon. */
  remote: string;
  /** Without slashes at its ends; empty for all of the remote. */
  path: string;
  /** Absolute; undefined: rclone's own. */
  configFile: string | undefined;
}

/** @throws AppError BAD_USER_INPUT naming the setting */
export function rcloneSettings(values: Values): RcloneSettings {
  assertKnown(values, ['remote', 'path', 'configFile']);
  const remote = neededText(values, 'remote').replace(/:$/, '');
  // What rclone would read as an option, or as a remote made on the spot, which could hold secrets.
  if (!/^[\w.+@][\w.+@ -]*$/.test(remote)) {
    throw badInput('remote', `"${remote}" is not the name of a remote.`, '`rclone listremotes` lists them.');
  }
  const configFile = textOf(values, 'configFile');
  if (configFile !== undefined && !isAbsolute(configFile)) throw badInput('configFile', 'is not an absolute path.');
  return { remote, path: innerPath(values, 'path'), configFile };
}

/** Where the settings lead, as a person writes it. */
export const rclonePlace = ({ remote, path }: RcloneSettings): string =>
  `rclone://${remote}${path === '' ? '' : `/${path}`}`;
