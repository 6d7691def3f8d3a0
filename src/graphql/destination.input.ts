import { MaxLength } from 'class-validator';
import { Field, InputType, Int } from 'type-graphql';
import type { DestinationInput as Input } from '../core/destinations/destinations.js';
import type { SettingValue, StorageType as Storage } from '../core/ports.js';
import { badInput } from '../errors.js';
import { StorageType } from './enums.js';
import { ByteSize } from './scalars.js';

/** Longest text of a setting. */
const TEXT = 4_000;

@InputType({ description: 'A folder of the server.' })
export class DirectoryInput {
  @Field(() => StorageType, { description: 'LOCAL or SYSTEM.' })
  storageType!: Storage;

  @MaxLength(TEXT)
  @Field(() => String, { description: 'Inside the backups folder for LOCAL; absolute for SYSTEM.' })
  path!: string;
}

@InputType({ description: 'A bucket of Amazon S3 or of any service that speaks its protocol.' })
export class S3Input {
  @MaxLength(TEXT)
  @Field(() => String, {
    description: 'Name of the bucket, which must exist. In a change: the present one, or another.',
  })
  bucket!: string;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Default: `us-east-1`.' })
  region?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, {
    nullable: true,
    description: 'For services other than AWS, such as `https://s3.eu-central-003.backblazeb2.com`.',
  })
  endpoint?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Folder inside the bucket, such as `okpuja/production`.' })
  prefix?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, {
    nullable: true,
    description: 'Access key. Default: what the machine itself is allowed, such as by its instance role.',
  })
  accessKeyId?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Its secret.' })
  secretAccessKey?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'For temporary keys.' })
  sessionToken?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'The bucket is part of the path, not of the host name: MinIO and most services of your own need it.',
  })
  forcePathStyle?: boolean | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Such as `STANDARD_IA` or `GLACIER_IR`.' })
  storageClass?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: '`AES256`, `aws:kms` or `aws:kms:dsse`.' })
  serverSideEncryption?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Key of `aws:kms`.' })
  kmsKeyId?: string | null;

  @Field(() => Int, {
    nullable: true,
    description: 'For how many days no one can delete an archive for good. The bucket must have object lock.',
  })
  objectLockDays?: number | null;
}

@InputType({
  description: 'A folder of Google Drive: with a service account, or with clientId, clientSecret and refreshToken.',
})
export class GdriveInput {
  @MaxLength(TEXT)
  @Field(() => String, {
    description: 'Path such as `Backups/okpuja`, which is made if missing, or the id of a folder.',
  })
  folder!: string;

  @MaxLength(20_000)
  @Field(() => String, { nullable: true, description: 'Text of the JSON key of a service account.' })
  serviceAccountKey?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Id of the OAuth client.' })
  clientId?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Secret of the OAuth client.' })
  clientSecret?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'As `db-manager gdrive-login` gets it.' })
  refreshToken?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, {
    nullable: true,
    description: 'Shared drive of the folder. Default: the drive of the account.',
  })
  driveId?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, {
    nullable: true,
    description: "Address of a server that speaks for Google's. Default: Google's.",
  })
  rootUrl?: string | null;
}

@InputType({ description: 'A folder of an SSH server. A password or a private key is needed.' })
export class SftpInput {
  @MaxLength(TEXT)
  @Field(() => String, { description: 'Host name or address.' })
  host!: string;

  @Field(() => Int, { nullable: true, description: 'Default: 22.' })
  port?: number | null;

  @MaxLength(TEXT)
  @Field(() => String, { description: 'The user.' })
  username!: string;

  @MaxLength(TEXT)
  @Field(() => String, { description: 'The folder: absolute, or inside the home of the user. It is made if missing.' })
  path!: string;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Its password.' })
  password?: string | null;

  @MaxLength(20_000)
  @Field(() => String, { nullable: true, description: 'Text of a private key, from `-----BEGIN` to `-----END`.' })
  privateKey?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Passphrase of the private key.' })
  passphrase?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, {
    nullable: true,
    description: 'Key of the host, such as `SHA256:…`. Default: the one that the first test meets; no other later.',
  })
  hostKey?: string | null;
}

@InputType({ description: 'A remote of the rclone that is installed on the server, as its user has configured it.' })
export class RcloneInput {
  @MaxLength(TEXT)
  @Field(() => String, { description: 'Name of the remote, as `rclone listremotes` shows it.' })
  remote!: string;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: 'Folder of the remote. It is made if missing.' })
  path?: string | null;

  @MaxLength(TEXT)
  @Field(() => String, { nullable: true, description: "Absolute path of rclone's configuration. Default: its own." })
  configFile?: string | null;
}

@InputType({ description: 'A destination: exactly one kind of place. In a change, what is left out stays as it is.' })
export class DestinationInput {
  @MaxLength(200)
  @Field(() => String, { nullable: true, description: 'Unique, 1 to 200 characters. Default: its location.' })
  name?: string | null;

  @Field(() => Boolean, { nullable: true, description: 'Whether it is away most of the time. Default: false.' })
  offline?: boolean | null;

  @Field(() => ByteSize, {
    nullable: true,
    description: 'Most bytes per second to and from it; not for folders. Null removes the limit.',
  })
  bandwidthLimit?: number | null;

  @Field(() => DirectoryInput, { nullable: true, description: 'A folder.' })
  directory?: DirectoryInput | null;

  @Field(() => S3Input, { nullable: true, description: 'A bucket.' })
  s3?: S3Input | null;

  @Field(() => GdriveInput, { nullable: true, description: 'A folder of Google Drive.' })
  gdrive?: GdriveInput | null;

  @Field(() => SftpInput, { nullable: true, description: 'A folder of an SSH server.' })
  sftp?: SftpInput | null;

  @Field(() => RcloneInput, { nullable: true, description: 'A remote of rclone.' })
  rclone?: RcloneInput | null;
}

/** Which member of the input means which kind of storage. */
const KINDS = { s3: 'S3', gdrive: 'GDRIVE', sftp: 'SFTP', rclone: 'RCLONE' } as const satisfies Partial<
  Record<keyof DestinationInput, Storage>
>;

/** What the input means to the domain. @throws AppError BAD_USER_INPUT if it names several kinds of place */
export function destinationInput({ name, offline, bandwidthLimit, ...places }: DestinationInput): Input {
  const given = Object.entries(places as Record<string, object | null>).filter(([, place]) => place);
  const [first, second] = given;
  if (first !== undefined && second !== undefined) {
    throw badInput('input', `names both ${first[0]} and ${second[0]}.`, 'Give exactly one kind of place.');
  }
  const place = first === undefined ? undefined : placeOf(first);
  const values: Record<string, SettingValue | null> = { ...place?.values };
  if (bandwidthLimit !== undefined) values.bandwidthLimit = bandwidthLimit;
  return {
    name: name ?? undefined,
    offline: offline ?? undefined,
    storageType: place?.storageType,
    values: Object.keys(values).length === 0 ? undefined : values,
  };
}

function placeOf([member, place]: [string, object | null]): {
  storageType: Storage;
  values: Record<string, SettingValue | null>;
} {
  const values = Object.fromEntries(Object.entries(place ?? {}).filter(([, value]) => value !== undefined));
  if (member !== 'directory') return { storageType: KINDS[member as keyof typeof KINDS], values };
  const { storageType, path } = place as DirectoryInput;
  if (storageType === 'LOCAL' || storageType === 'SYSTEM') return { storageType, values: { path } };
  throw badInput('directory', `storageType ${storageType} is no folder.`, 'Choose LOCAL or SYSTEM.');
}
