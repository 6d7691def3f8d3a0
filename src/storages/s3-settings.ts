import { badInput } from '../errors.js';
import type { Values } from './remote-kind.js';
import { assertKnown, flagOf, innerPath, neededText, textOf, wholeOf } from './values.js';

/** How a bucket is reached and how objects are stored in it. */
export interface S3Settings {
  bucket: string;
  region: string;
  /** Undefined: AWS. */
  endpoint: string | undefined;
  /** Without slashes at its ends; empty for the whole bucket. */
  prefix: string;
  /** Undefined: as the machine itself is allowed, such as by its instance role. */
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string } | undefined;
  forcePathStyle: boolean;
  storageClass: string | undefined;
  serverSideEncryption: string | undefined;
  kmsKeyId: string | undefined;
  /** For how many days nobody can delete an object; undefined: no lock. */
  objectLockDays: number | undefined;
}

const ENCRYPTIONS = ['AES256', 'aws:kms', 'aws:kms:dsse'];

const NAMES = [
  'bucket',
  'region',
  'endpoint',
  'prefix',
  'accessKeyId',
  'secretAccessKey',
  'sessionToken',
  'forcePathStyle',
  'storageClass',
  'serverSideEncryption',
  'kmsKeyId',
  'objectLockDays',
];

/** @throws AppError BAD_USER_INPUT naming the setting */
export function s3Settings(values: Values): S3Settings {
  assertKnown(values, NAMES);
  const bucket = neededText(values, 'bucket');
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$/.test(bucket)) {
    throw badInput('bucket', `"${bucket}" is not a bucket's name.`, 'Write the name alone, such as okpuja-backups.');
  }
  const endpoint = textOf(values, 'endpoint');
  if (endpoint !== undefined) assertEndpoint(endpoint);
  const serverSideEncryption = textOf(values, 'serverSideEncryption');
  if (serverSideEncryption !== undefined && !ENCRYPTIONS.includes(serverSideEncryption)) {
    throw badInput('serverSideEncryption', `is none of ${ENCRYPTIONS.join(', ')}.`);
  }
  const kmsKeyId = textOf(values, 'kmsKeyId');
  if (kmsKeyId !== undefined && !serverSideEncryption?.startsWith('aws:kms')) {
    throw badInput('kmsKeyId', 'needs serverSideEncryption aws:kms.');
  }
  return {
    bucket,
    region: textOf(values, 'region') ?? 'us-east-1',
    endpoint,
    prefix: innerPath(values, 'prefix'),
    credentials: credentialsOf(values),
    forcePathStyle: flagOf(values, 'forcePathStyle'),
    storageClass: textOf(values, 'storageClass'),
    serverSideEncryption,
    kmsKeyId,
    objectLockDays: wholeOf(values, 'objectLockDays', 1, 36_500),
  };
}

function assertEndpoint(endpoint: string): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : null;
  const plain = url !== null && url.username === '' && url.password === '' && url.search === '';
  if (plain && /^https?:$/.test(url.protocol)) return;
  throw badInput('endpoint', 'is not a URL such as https://s3.eu-central-003.backblazeb2.com.');
}

function credentialsOf(values: Values): S3Settings['credentials'] {
  const accessKeyId = textOf(values, 'accessKeyId');
  const secretAccessKey = textOf(values, 'secretAccessKey');
  const sessionToken = textOf(values, 'sessionToken');
  if (accessKeyId === undefined && secretAccessKey === undefined) return undefined;
  if (accessKeyId === undefined) throw badInput('accessKeyId', 'is needed with secretAccessKey.');
  if (secretAccessKey === undefined) throw badInput('secretAccessKey', 'is needed with accessKeyId.');
  return { accessKeyId, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
}
