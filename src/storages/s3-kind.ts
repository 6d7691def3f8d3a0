import type { RemoteKind } from './remote-kind.js';
import { s3Settings } from './s3-settings.js';

export const s3Kind: RemoteKind = {
  secrets: ['accessKeyId', 'secretAccessKey', 'sessionToken'],
  reach: ['endpoint'],
  place(values) {
    const { bucket, prefix } = s3Settings(values);
    return `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`;
  },
  async connect(values) {
    const { S3Storage } = await import('./s3.js');
    return new S3Storage(s3Settings(values));
  },
};
