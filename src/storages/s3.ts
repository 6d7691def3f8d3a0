import { createHash, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  type CompletedPart,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { mediaTypeOf } from '../archive/format.js';
import type { Preparation, PutOptions, Storage, StoredObject } from '../core/ports.js';
import { AppError } from '../errors.js';
import { isListed, plainName } from './names.js';
import { blocksOf, sendAll } from './parts.js';
import { refusesExtras, s3Error, statusOf } from './s3-errors.js';
import type { S3Settings } from './s3-settings.js';
import { POLICY, repeated } from './retry.js';
import { guarded, STALLED_AFTER } from './stream.js';

const MIB = 1024 * 1024;
/** Bytes of a part unless the object needs larger ones, and how many parts an upload may have. */
const PART = 5 * MIB;
const MOST_PARTS = 10_000;
/** How many parts are sent at once. */
const IN_FLIGHT = 2;
/** How often the client itself tries one request, in quick succession. */
const ATTEMPTS = 3;
/** An unfinished upload that got no part for this time is dead, in milliseconds. */
const DEAD_AFTER = 86_400_000;
/** How the name of an upload begins that only tries whether one can be begun. */
const PROBE = 'db-manager-probe-';

/** A bucket, or a prefix of one, of any service that speaks S3. */
export class S3Storage implements Storage {
  readonly type = 'S3';
  readonly place: string;
  private readonly client: S3Client;
  /** False once the service has refused conditional writes and SHA-256 checksums: then MD5 goes with each part. */
  private extras = true;

  /**
   * @param stalledAfter how long a connection may pass no bytes, in milliseconds
   * @param policy how persistently parts and pages are tried again
   */
  constructor(
    private readonly settings: S3Settings,
    private readonly stalledAfter = STALLED_AFTER,
    private readonly policy = POLICY,
  ) {
    const { region, endpoint, credentials, forcePathStyle, bucket, prefix } = settings;
    this.place = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`;
    this.client = new S3Client({
      region,
      forcePathStyle,
      ...(endpoint !== undefined && { endpoint }),
      ...(credentials !== undefined && { credentials }),
      maxAttempts: ATTEMPTS,
      requestHandler: { connectionTimeout: Math.min(10_000, stalledAfter), socketTimeout: stalledAfter },
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  folder(): null {
    return null;
  }

  locate(name: string): string {
    return `${this.place}/${plainName(name)}`;
  }

  /** An upload that is begun and given up shows the right to write without leaving an object. */
  async prepare(): Promise<Preparation> {
    await this.doing('use', async () => {
      await this.client.send(new HeadBucketCommand(this.bucket));
      await this.removeDead();
      const Key = this.keyOf(`${PROBE}${randomUUID()}`);
      const { UploadId } = await this.client.send(new CreateMultipartUploadCommand({ ...this.bucket, Key }));
      await this.client.send(new AbortMultipartUploadCommand({ ...this.bucket, Key, UploadId }));
    });
    return { made: [], undo: async () => undefined };
  }

  async put(name: string, body: Readable, options: PutOptions): Promise<StoredObject> {
    try {
      const location = this.locate(name);
      if ((await this.stat(name)) !== null) throw taken(location);
      await this.doing('write to', () => this.store(name, body, options), options.signal);
      const stored = await this.stat(name);
      if (stored === null)
        throw new AppError('STORAGE_UNAVAILABLE', `${location} vanished right after it was written.`);
      return stored;
    } catch (error) {
      body.destroy();
      if (options.signal.aborted && options.signal.reason instanceof AppError) throw options.signal.reason;
      throw error;
    }
  }

  async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const Range = range === undefined ? undefined : `bytes=${range.start}-${range.end ?? ''}`;
    const request = new GetObjectCommand({ ...this.bucket, Key: this.keyOf(name), Range });
    const { Body } = await this.doing('read', async () => {
      try {
        return await this.client.send(request);
      } catch (error) {
        if (!isMissing(error)) throw error;
        await this.assertBucket();
        throw new AppError('ARCHIVE_MISSING', `${this.locate(name)} is not there.`, { cause: error });
      }
    });
    const translate = (error: unknown) => s3Error(error, `read ${this.locate(name)}`);
    return guarded(Body as Readable, this.locate(name), translate, this.stalledAfter);
  }

  async stat(name: string): Promise<StoredObject | null> {
    const location = this.locate(name);
    const found = await this.head(name);
    if (found === null) return null;
    return { name, location, size: found.ContentLength ?? 0, modifiedAt: found.LastModified ?? new Date(0) };
  }

  async remove(name: string): Promise<void> {
    const Key = this.keyOf(name);
    await this.doing('delete from', () => this.client.send(new DeleteObjectCommand({ ...this.bucket, Key })));
    if ((await this.stat(name)) === null) return;
    throw new AppError('STORAGE_UNAVAILABLE', `${this.locate(name)} is still there after it was deleted.`);
  }

  /** Only the run that reserved the name writes under it, so every unfinished upload of it is what that run left. */
  async discard(_owner: string, name: string): Promise<void> {
    const key = this.keyOf(name);
    await this.doing('write to', async () => {
      for await (const { Key, UploadId } of this.uploads(key)) if (Key === key) await this.abandon(Key, UploadId);
    });
  }

  async *list(prefix = ''): AsyncIterable<StoredObject> {
    let token: string | undefined;
    do {
      const request = { ...this.bucket, Prefix: this.base + prefix, Delimiter: '/', ContinuationToken: token };
      const page = await this.persisting('list', () => this.client.send(new ListObjectsV2Command(request)));
      for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
        const name = Key.slice(this.base.length);
        if (!isListed(name, prefix)) continue;
        yield { name, location: this.locate(name), size: Size, modifiedAt: LastModified ?? new Date(0) };
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
  }

  async space(): Promise<null> {
    return null;
  }

  private get bucket() {
    return { Bucket: this.settings.bucket };
  }

  private get base(): string {
    return this.settings.prefix === '' ? '' : `${this.settings.prefix}/`;
  }

  private keyOf(name: string): string {
    return this.base + plainName(name);
  }

  /** One part is an object of its own; more become one when all are there. */
  private async store(name: string, body: Readable, { owner, signal, size = 0 }: PutOptions): Promise<void> {
    const free: Buffer[] = [];
    const blocks = blocksOf(body, partBytes(size), free);
    const first = (await blocks.next()).value ?? Buffer.alloc(0);
    const second = first.length === 0 ? undefined : (await blocks.next()).value;
    const object = { ...this.bucket, Key: this.keyOf(name), ...this.attributes(owner, name) };
    if (second !== undefined) return this.storeParts(object, [first, second], { blocks, free }, signal);
    const whole = () => ({ ...object, ...this.checksum(first), Body: first });
    await this.published(object, signal, (conditions) =>
      this.client.send(new PutObjectCommand({ ...whole(), ...conditions }), { abortSignal: signal }),
    );
  }

  private async storeParts(object: StoredAs, begun: Buffer[], rest: Rest, signal: AbortSignal): Promise<void> {
    const { Bucket, Key } = object;
    const options = { abortSignal: signal };
    const kind = () => (this.extras ? { ChecksumAlgorithm: 'SHA256' as const } : {});
    const create = () => this.client.send(new CreateMultipartUploadCommand({ ...object, ...kind() }), options);
    const { UploadId } = await this.persisting('write to', () => this.withExtras(create), signal);
    try {
      const Parts = await this.sendParts({ Bucket, Key, UploadId }, begun, rest, signal);
      const whole = { Bucket, Key, UploadId, MultipartUpload: { Parts } };
      await this.published(object, signal, (conditions) =>
        this.client.send(new CompleteMultipartUploadCommand({ ...whole, ...conditions }), options),
      );
    } catch (error) {
      await this.abandon(Key, UploadId).catch(() => undefined);
      throw error;
    }
  }

  private async sendParts(
    upload: { Bucket: string; Key: string; UploadId: string | undefined },
    begun: Buffer[],
    { blocks, free }: Rest,
    signal: AbortSignal,
  ): Promise<CompletedPart[]> {
    const parts: CompletedPart[] = [];
    const { place } = this;
    const all = async function* () {
      yield* begun;
      begun = [];
      yield* blocks;
    };
    const send = async (Body: Buffer, index: number, abortSignal: AbortSignal): Promise<void> => {
      const PartNumber = index + 1;
      if (PartNumber > MOST_PARTS) throw tooLarge(place);
      const request = () => new UploadPartCommand({ ...upload, PartNumber, Body, ...this.checksum(Body) });
      const sent = () => this.client.send(request(), { abortSignal });
      const { ETag, ChecksumSHA256 } = await this.persisting('write to', sent, abortSignal);
      parts[index] = { ETag, PartNumber, ...(ChecksumSHA256 !== undefined && { ChecksumSHA256 }) };
      free.push(Body);
    };
    await sendAll(all(), IN_FLIGHT, send, signal);
    return parts;
  }

  /**
   * Makes an object visible, never over another one. A service may do it and lose the answer; then the object that is there
   * carries the mark of this very call.
   */
  private async published(
    { Key, Metadata }: StoredAs,
    signal: AbortSignal,
    publish: (conditions: { IfNoneMatch?: string }) => Promise<unknown>,
  ): Promise<void> {
    const name = Key.slice(this.base.length);
    const attempt = async () => {
      try {
        await this.withExtras(() => publish(this.extras ? { IfNoneMatch: '*' } : {}));
      } catch (error) {
        if (signal.aborted || !mayBeThere(error)) throw error;
        const found = await this.head(name);
        if (found?.Metadata?.[MARK] === Metadata[MARK]) return;
        throw found === null ? error : taken(this.locate(name));
      }
    };
    await this.persisting('write to', attempt, signal);
  }

  /** Does it, and once more without what the service does not know. */
  private async withExtras<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!this.extras || !refusesExtras(error)) throw error;
      this.extras = false;
      return work();
    }
  }

  private checksum(bytes: Buffer) {
    if (this.extras) return { ChecksumSHA256: createHash('sha256').update(bytes).digest('base64') };
    return { ContentMD5: createHash('md5').update(bytes).digest('base64') };
  }

  private attributes(owner: string, name: string) {
    const { storageClass, serverSideEncryption, kmsKeyId, objectLockDays } = this.settings;
    return {
      ContentType: mediaTypeOf(name),
      Metadata: { 'db-manager-run': owner, [MARK]: randomUUID() },
      ...(storageClass !== undefined && { StorageClass: storageClass as never }),
      ...(serverSideEncryption !== undefined && { ServerSideEncryption: serverSideEncryption as never }),
      ...(kmsKeyId !== undefined && { SSEKMSKeyId: kmsKeyId }),
      ...(objectLockDays !== undefined && {
        ObjectLockMode: 'COMPLIANCE' as const,
        ObjectLockRetainUntilDate: new Date(Date.now() + objectLockDays * 86_400_000),
      }),
    };
  }

  private async head(name: string) {
    const request = new HeadObjectCommand({ ...this.bucket, Key: this.keyOf(name) });
    return this.doing('read', async () => {
      try {
        return await this.client.send(request);
      } catch (error) {
        if (!isMissing(error)) throw error;
        await this.assertBucket();
        return null;
      }
    });
  }

  /** Tells "the object is not there" from "the bucket is not there": the answers to both are alike. */
  private async assertBucket(): Promise<void> {
    await this.client.send(new HeadBucketCommand(this.bucket));
  }

  private async *uploads(prefix: string): AsyncGenerator<{ Key: string; UploadId: string; Initiated: Date }> {
    let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } | undefined = {};
    while (marker !== undefined) {
      const request = { ...this.bucket, Prefix: prefix, ...marker };
      const page: {
        Uploads?: { Key?: string; UploadId?: string; Initiated?: Date }[];
        IsTruncated?: boolean;
        NextKeyMarker?: string;
        NextUploadIdMarker?: string;
      } = await this.client.send(new ListMultipartUploadsCommand(request));
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key !== undefined && UploadId !== undefined) yield { Key, UploadId, Initiated: Initiated ?? new Date() };
      }
      const { NextKeyMarker: KeyMarker, NextUploadIdMarker: UploadIdMarker } = page;
      marker = page.IsTruncated ? { KeyMarker, UploadIdMarker } : undefined;
    }
  }

  /** Ends uploads of ours that no process goes on with: what they have sent costs money and is never seen. */
  private async removeDead(): Promise<void> {
    const before = Date.now() - DEAD_AFTER;
    for await (const { Key, UploadId, Initiated } of this.uploads(this.base)) {
      const name = Key.slice(this.base.length);
      const isOurs = isListed(name, '') || name.startsWith(PROBE);
      if (Initiated.getTime() > before || !isOurs) continue;
      const { Parts = [] } = await this.client.send(new ListPartsCommand({ ...this.bucket, Key, UploadId }));
      const isDead = Parts.every(({ LastModified }) => (LastModified?.getTime() ?? 0) < before);
      if (isDead) await this.abandon(Key, UploadId);
    }
  }

  private async abandon(Key: string, UploadId: string | undefined): Promise<void> {
    await this.client
      .send(new AbortMultipartUploadCommand({ ...this.bucket, Key, UploadId }))
      .catch((error: unknown) => {
        if (statusOf(error) !== 404) throw error;
      });
  }

  /** As `doing`, and again while it may pass. */
  private persisting<T>(verb: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return repeated(() => this.doing(verb, work, signal), this.policy, signal);
  }

  private async doing<T>(verb: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (signal?.aborted && signal.reason instanceof AppError) throw signal.reason;
      throw error instanceof AppError ? error : s3Error(error, `${verb} ${this.place}`);
    }
  }
}

/** Where the mark of one `put` stands among an object's metadata. */
const MARK = 'db-manager-put';

/** What follows the first parts, and the memory of those that are sent. */
interface Rest {
  blocks: AsyncGenerator<Buffer>;
  free: Buffer[];
}

interface StoredAs {
  Bucket: string;
  Key: string;
  Metadata: Record<string, string>;
}

/** @param size most bytes of the object; 0 if unknown */
function partBytes(size: number): number {
  return Math.max(PART, Math.ceil(size / (MOST_PARTS * 0.9) / MIB) * MIB);
}

const isMissing = (error: unknown) => statusOf(error) === 404;

/** True if the object may be there although the request that makes it visible failed. */
const mayBeThere = (error: unknown) => {
  const status = statusOf(error);
  return status === undefined || status === 404 || status === 409 || status === 412 || status >= 500;
};

const taken = (location: string) => new AppError('NAME_TAKEN', `${location} is already there.`);

const tooLarge = (place: string) =>
  new AppError('STORAGE_REFUSED', `The archive is too large for ${place}: it has more than ${MOST_PARTS} parts.`, {
    hint: 'Store this archive in another kind of destination.',
  });
