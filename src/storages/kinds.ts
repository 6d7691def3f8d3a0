import type { StorageSettings, StorageType } from '../core/ports.js';
import type { RemoteKind, Values } from './remote-kind.js';
import { rcloneKind } from './rclone-kind.js';
import { gdriveKind } from './gdrive-kind.js';
import { s3Kind } from './s3-kind.js';
import { sftpKind } from './sftp-kind.js';

const KINDS: Partial<Record<StorageType, RemoteKind>> = {
  S3: s3Kind,
  GDRIVE: gdriveKind,
  SFTP: sftpKind,
  RCLONE: rcloneKind,
};

/** Undefined for folders. */
export const remoteKind = (type: StorageType): RemoteKind | undefined => KINDS[type];

export const valuesOf = ({ settings, secrets }: StorageSettings): Values => ({ ...settings, ...secrets });
