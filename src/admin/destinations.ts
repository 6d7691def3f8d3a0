import type { DestinationInput, DestinationPartsFragment } from '../client/generated/graphql.js';

/** One input of a destination's form. */
export interface KindField {
  name: string;
  label: string;
  description?: string;
  placeholder?: string;
  type?: 'secret' | 'secret text' | 'whole' | 'switch';
  required?: boolean;
}

/** A kind of destination as its form shows it. */
export interface Kind {
  /** The member of the API's input. */
  member: 'directory' | 's3' | 'gdrive' | 'sftp' | 'rclone';
  label: string;
  fields: KindField[];
  /** Fields that few people need. */
  more: KindField[];
}

const FOLDER: Kind = {
  member: 'directory',
  label: 'Folder on this server',
  fields: [
    { name: 'path', label: 'Folder', description: 'An absolute path, such as /mnt/disk/backups.', required: true },
  ],
  more: [],
};

/** By storage type; the backups folder is a destination by itself. */
export const KINDS: Record<string, Kind> = {
  S3: {
    member: 's3',
    label: 'S3 bucket',
    fields: [
      { name: 'bucket', label: 'Bucket', description: 'It must exist.', required: true },
      { name: 'endpoint', label: 'Endpoint', description: 'For services other than AWS.', placeholder: 'https://…' },
      { name: 'region', label: 'Region', description: 'Default: us-east-1.' },
      { name: 'prefix', label: 'Prefix', description: 'A folder inside the bucket. Optional.' },
      { name: 'accessKeyId', label: 'Access key ID', type: 'secret' },
      { name: 'secretAccessKey', label: 'Secret access key', type: 'secret' },
    ],
    more: [
      { name: 'forcePathStyle', label: 'Path style', description: 'MinIO and most own services.', type: 'switch' },
      { name: 'sessionToken', label: 'Session token', type: 'secret' },
      { name: 'storageClass', label: 'Storage class', placeholder: 'STANDARD_IA' },
      { name: 'serverSideEncryption', label: 'Server-side encryption', placeholder: 'AES256 or aws:kms' },
      { name: 'kmsKeyId', label: 'KMS key ID' },
      { name: 'objectLockDays', label: 'Object lock (days)', type: 'whole' },
    ],
  },
  GDRIVE: {
    member: 'gdrive',
    label: 'Google Drive',
    fields: [
      {
        name: 'folder',
        label: 'Folder',
        description: 'Such as Backups/okpuja, or the id of a folder.',
        required: true,
      },
      {
        name: 'serviceAccountKey',
        label: 'Key of a service account',
        description: 'The whole JSON file. Or a client and its refresh token, below.',
        placeholder: '{ …',
        type: 'secret text',
      },
    ],
    more: [
      { name: 'driveId', label: 'Shared drive', description: 'Its id. Default: the drive of the account.' },
      { name: 'clientId', label: 'OAuth client ID' },
      { name: 'clientSecret', label: 'OAuth client secret', type: 'secret' },
      {
        name: 'refreshToken',
        label: 'Refresh token',
        description: 'From the command gdrive-login.',
        type: 'secret',
      },
    ],
  },
  SFTP: {
    member: 'sftp',
    label: 'SFTP server',
    fields: [
      { name: 'host', label: 'Host', required: true },
      { name: 'username', label: 'User', required: true },
      { name: 'path', label: 'Folder', description: 'Absolute, or inside the home of the user.', required: true },
      { name: 'password', label: 'Password', description: 'Or a private key.', type: 'secret' },
      { name: 'privateKey', label: 'Private key', placeholder: '-----BEGIN …', type: 'secret text' },
    ],
    more: [
      { name: 'passphrase', label: 'Passphrase of the key', type: 'secret' },
      { name: 'port', label: 'Port', description: 'Default: 22.', type: 'whole' },
      {
        name: 'hostKey',
        label: 'Host key',
        description: 'Default: the one of the first test.',
        placeholder: 'SHA256:…',
      },
    ],
  },
  RCLONE: {
    member: 'rclone',
    label: 'rclone remote',
    fields: [
      { name: 'remote', label: 'Remote', description: 'As rclone listremotes shows it.', required: true },
      { name: 'path', label: 'Folder', description: 'Optional.' },
    ],
    more: [{ name: 'configFile', label: 'Configuration file', description: "Default: rclone's own." }],
  },
  SYSTEM: FOLDER,
  LOCAL: FOLDER,
};

/** The kinds that can be added. */
export const ADDABLE = ['S3', 'GDRIVE', 'SFTP', 'RCLONE', 'SYSTEM'];

export type Values = Record<string, string | boolean>;

/** The form of a saved destination. Secrets are not shown: an empty one stays as it is. */
export function valuesOf({ storageType, settings, location }: DestinationPartsFragment): Values {
  const saved = Object.fromEntries(settings.map(({ name, value }) => [name, value]));
  if (KINDS[storageType]?.member === 'directory') return { path: location };
  return { ...saved, ...(saved.forcePathStyle !== undefined && { forcePathStyle: saved.forcePathStyle === 'true' }) };
}

/** What is typed as the API takes it. @param isNew an empty setting of a saved destination is taken away */
export function inputOf(
  storageType: string,
  values: Values,
  { name, offline, isNew }: { name: string; offline: boolean; isNew: boolean },
): DestinationInput {
  const kind = KINDS[storageType] ?? FOLDER;
  const place: Record<string, string | number | boolean | null> = {};
  for (const field of [...kind.fields, ...kind.more]) {
    const value = values[field.name] ?? '';
    const text = typeof value === 'string' ? value.trim() : value;
    if (field.type === 'switch') place[field.name] = value === true;
    else if (text !== '') place[field.name] = field.type === 'whole' ? Number(text) : text;
    else if (!isNew && !field.type?.startsWith('secret')) place[field.name] = null;
  }
  const directory = kind.member === 'directory' ? { storageType } : {};
  return { name: name.trim() || undefined, offline, [kind.member]: { ...directory, ...place } } as DestinationInput;
}
