import { createHash, type Hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { auth, drive_v3 } from '@googleapis/drive';
import { ARCHIVE_TYPE } from '../archive/format.js';
import type { Preparation, PutOptions, Storage, StoredObject } from '../core/ports.js';
import { AppError } from '../errors.js';
import { accessToken } from './gdrive-auth.js';
import { answered, driveError, failureOf } from './gdrive-errors.js';
import type { GdriveSettings } from './gdrive-settings.js';
import { jsonOf, transfer, type Transfer } from './gdrive-transfer.js';
import { isListed, plainName } from './names.js';
import { blocksOf } from './parts.js';
import { POLICY, repeated } from './retry.js';
import { guarded, STALLED_AFTER } from './stream.js';

const ROOT_URL = 'https://www.googleapis.com';
const FOLDER_TYPE = 'application/vnd.google-apps.folder';
/** Bytes of a piece of an upload; Drive wants a multiple of 256 KiB. */
const PIECE = 8 * 1024 * 1024;
/** Files on one page of a list. */
const PAGE = 1_000;
const FIELDS = 'id,name,size,modifiedTime,appProperties';
/** Property of our files: the run that wrote it. */
const RUN = 'dbManagerRun';

type DriveFile = drive_v3.Schema$File;

/** A folder of Google Drive. Drive knows files by id, and may hold several of one name: the first one of ours counts. */
export class GdriveStorage implements Storage {
  readonly type = 'GDRIVE';
  private readonly drive: drive_v3.Drive;
  private readonly client = new auth.OAuth2({ forceRefreshOnFailure: true });
  private readonly rootUrl: string;
  private folderId: Promise<string> | null = null;

  /**
   * @param stalledAfter how long a connection may pass no bytes, in milliseconds
   * @param policy how persistently pieces and pages are tried again
   */
  constructor(
    private readonly settings: GdriveSettings,
    readonly place: string,
    private readonly stalledAfter = STALLED_AFTER,
    private readonly policy = POLICY,
  ) {
    this.rootUrl = settings.rootUrl ?? ROOT_URL;
    this.client.refreshHandler = () => accessToken(settings);
    const common = { timeout: stalledAfter, retry: false, retryConfig: { retry: 0 } };
    this.drive = new drive_v3.Drive({ auth: this.client, rootUrl: `${this.rootUrl}/`, ...common });
  }

  folder(): null {
    return null;
  }

  locate(name: string): string {
    return `${this.place}/${plainName(name)}`;
  }

  async prepare(): Promise<Preparation> {
    const made: string[] = [];
    const undo = async () => {
      for (const id of made.reverse()) if (await this.isEmpty(id)) await this.erase(id);
    };
    try {
      const id = await this.doing('use', () => this.findFolder(made));
      const { data } = await this.doing('use', () =>
        this.drive.files.get({ fileId: id, fields: 'capabilities/canAddChildren', ...this.everywhere }),
      );
      if (data.capabilities?.canAddChildren === false) throw readOnly(this.place);
      this.folderId = Promise.resolve(id);
      return { made: made.length === 0 ? [] : [this.place], undo };
    } catch (error) {
      await undo().catch(() => undefined);
      throw error;
    }
  }

  async put(name: string, body: Readable, options: PutOptions): Promise<StoredObject> {
    try {
      const location = this.locate(name);
      if ((await this.find(name)) !== null) throw taken(location);
      const id = await this.doing('write to', () => this.store(name, body, options), options.signal);
      const first = await this.find(name);
      if (first?.id !== id) await this.erase(id);
      if (first === null) throw unavailable(`${location} vanished right after it was written.`);
      if (first.id !== id) throw taken(location);
      return this.objectOf(first);
    } catch (error) {
      body.destroy();
      if (options.signal.aborted && options.signal.reason instanceof AppError) throw options.signal.reason;
      throw error;
    }
  }

  async get(name: string, range?: { start: number; end?: number }): Promise<Readable> {
    const location = this.locate(name);
    const found = await this.find(name);
    if (found === null) throw new AppError('ARCHIVE_MISSING', `${location} is not there.`);
    const headers: Record<string, string> =
      range === undefined ? {} : { range: `bytes=${range.start}-${range.end ?? ''}` };
    const url = `${this.rootUrl}/drive/v3/files/${found.id}?alt=media&supportsAllDrives=true`;
    const response = await this.doing('read', () => this.authorized(url, { method: 'GET', headers }));
    if (response.statusCode !== 200 && response.statusCode !== 206) {
      throw answered(failureOf(response.statusCode, await jsonOf(response)), `read ${location}`);
    }
    return guarded(response, location, (error) => driveError(error, `read ${location}`), this.stalledAfter);
  }

  async stat(name: string): Promise<StoredObject | null> {
    plainName(name);
    const found = await this.find(name);
    return found === null ? null : this.objectOf(found);
  }

  /** Also those of the same name that others have put there: after it the name is free. */
  async remove(name: string): Promise<void> {
    plainName(name);
    let found = await this.find(name);
    while (found !== null) {
      await this.erase(found.id ?? '');
      const left = await this.find(name);
      if (left?.id === found.id) throw unavailable(`${this.locate(name)} is still there after it was deleted.`);
      found = left;
    }
  }

  /** An upload that was broken off is seen by nobody, and Drive forgets it after a week. */
  async discard(): Promise<void> {
    // Nothing is left.
  }

  async *list(prefix = ''): AsyncIterable<StoredObject> {
    let last: string | undefined;
    for await (const file of this.files()) {
      const name = file.name ?? '';
      // Sorted by name: others of the same name come right behind it.
      if (!isListed(name, prefix) || name === last) continue;
      last = name;
      yield this.objectOf(file);
    }
  }

  async space(): Promise<{ free: number; total: number } | null> {
    // A shared drive has no limit that can be asked.
    if (this.settings.driveId !== undefined) return null;
    const { data } = await this.doing('use', () => this.drive.about.get({ fields: 'storageQuota(limit,usage)' }));
    const total = Number(data.storageQuota?.limit ?? 0);
    return total === 0 ? null : { total, free: Math.max(0, total - Number(data.storageQuota?.usage ?? 0)) };
  }

  private get everywhere() {
    return { supportsAllDrives: true };
  }

  private objectOf({ name, size, modifiedTime }: DriveFile): StoredObject {
    const own = name ?? '';
    const modifiedAt = new Date(modifiedTime ?? 0);
    return { name: own, location: this.locate(own), size: Number(size ?? 0), modifiedAt };
  }

  /** Uploads in pieces, in one session. @returns the id of the file */
  private async store(name: string, body: Readable, { owner, signal }: PutOptions): Promise<string> {
    const session = await this.persisting('write to', () => this.begin(name, owner, signal), signal);
    const upload = new Upload((headers, piece) =>
      transfer(session, { method: 'PUT', headers, body: piece, signal, stalledAfter: this.stalledAfter }),
    );
    try {
      const sums = { sha256: createHash('sha256'), md5: createHash('md5') };
      let held: Buffer | undefined;
      for await (const block of blocksOf(body, PIECE)) {
        for (const sum of Object.values(sums)) sum.update(block);
        if (held !== undefined) await this.send(upload, held, false, signal);
        held = block;
      }
      const file = await this.send(upload, held ?? Buffer.alloc(0), true, signal);
      await this.compare(file, upload.sent, sums);
      return file?.id ?? '';
    } catch (error) {
      await this.giveUp(session);
      throw upload.isLost ? unavailable(LOST, error) : error;
    }
  }

  private async begin(name: string, owner: string, signal: AbortSignal): Promise<string> {
    const fields = 'id,size,md5Checksum,sha256Checksum';
    const url = `${this.rootUrl}/upload/drive/v3/files?uploadType=resumable&supportsAllDrives=true&fields=${fields}`;
    const file = { name, parents: [await this.openFolder()], mimeType: ARCHIVE_TYPE, appProperties: { [RUN]: owner } };
    const headers = { 'content-type': 'application/json; charset=UTF-8', 'x-upload-content-type': ARCHIVE_TYPE };
    const response = await this.authorized(url, {
      method: 'POST',
      headers,
      body: Buffer.from(JSON.stringify(file)),
      signal,
    });
    const answer = await jsonOf(response);
    const { location } = response.headers;
    if (response.statusCode === 200 && location !== undefined) return location;
    throw answered(failureOf(response.statusCode, answer), `write to ${this.place}`);
  }

  private send(upload: Upload, piece: Buffer, last: boolean, signal: AbortSignal): Promise<DriveFile | null> {
    return this.persisting('write to', () => upload.send(piece, last), signal);
  }

  private async compare(file: DriveFile | null, sent: number, sums: { sha256: Hash; md5: Hash }): Promise<void> {
    const expected = { sha256Checksum: sums.sha256.digest('hex'), md5Checksum: sums.md5.digest('hex') };
    const isSame =
      file?.id &&
      Number(file.size) === sent &&
      [file.sha256Checksum ?? expected.sha256Checksum, file.md5Checksum ?? expected.md5Checksum].join() ===
        [expected.sha256Checksum, expected.md5Checksum].join();
    if (isSame) return;
    if (file?.id) await this.erase(file.id);
    throw unavailable(`${this.place} did not store the bytes that were sent.`);
  }

  /** What was sent is thrown away; if nobody can say so, Drive does it after a week. */
  private async giveUp(session: string): Promise<void> {
    const options = { method: 'DELETE', headers: {}, body: Buffer.alloc(0), stalledAfter: this.stalledAfter } as const;
    await transfer(session, options).then(
      (response) => response.resume(),
      () => undefined,
    );
  }

  /** The first file of ours with this name, else the first one. */
  private async find(name: string): Promise<DriveFile | null> {
    const files: DriveFile[] = [];
    for await (const file of this.files(`name = '${quoted(plainName(name))}'`)) files.push(file);
    return files.find(({ appProperties }) => appProperties?.[RUN] !== undefined) ?? files[0] ?? null;
  }

  /** The files of the folder by name, and those of one name by age. */
  private async *files(condition?: string): AsyncGenerator<DriveFile> {
    const folder = await this.doing('read', () => this.openFolder());
    const conditions = [`'${folder}' in parents`, 'trashed = false', `mimeType != '${FOLDER_TYPE}'`, condition];
    yield* this.search(conditions.filter(Boolean).join(' and '));
  }

  private async *search(q: string): AsyncGenerator<DriveFile> {
    const { driveId } = this.settings;
    const where = driveId === undefined ? { corpora: 'user' } : { corpora: 'drive', driveId };
    let pageToken: string | undefined;
    do {
      const fields = `nextPageToken,files(${FIELDS})`;
      const page = { q, fields, pageSize: PAGE, orderBy: 'name,createdTime', ...(pageToken && { pageToken }) };
      const { data } = await this.persisting('list', () =>
        this.drive.files.list({ ...where, ...page, includeItemsFromAllDrives: true, ...this.everywhere }),
      );
      yield* data.files ?? [];
      pageToken = data.nextPageToken ?? undefined;
    } while (pageToken !== undefined);
  }

  private openFolder(): Promise<string> {
    return (this.folderId ??= this.findFolder(null).catch((error: unknown) => {
      this.folderId = null;
      throw error;
    }));
  }

  /** @param made takes the ids of folders that are made because they are missing; null: a missing one is an error */
  private async findFolder(made: string[] | null): Promise<string> {
    const { folder, driveId } = this.settings;
    if ('id' in folder) {
      const { data } = await this.drive.files.get({
        fileId: folder.id,
        fields: 'mimeType,trashed',
        ...this.everywhere,
      });
      if (data.mimeType === FOLDER_TYPE && !data.trashed) return folder.id;
      throw noFolder(this.place);
    }
    let parent = driveId ?? 'root';
    for (const name of folder.path.split('/')) {
      const found = await this.childFolder(parent, name);
      if (found === null && made === null) throw noFolder(this.place);
      parent = found ?? (await this.makeFolder(parent, name));
      if (found === null) made?.push(parent);
    }
    return parent;
  }

  private async childFolder(parent: string, name: string): Promise<string | null> {
    const conditions = [`'${parent}' in parents`, 'trashed = false', `mimeType = '${FOLDER_TYPE}'`];
    for await (const { id } of this.search([...conditions, `name = '${quoted(name)}'`].join(' and '))) {
      if (id) return id;
    }
    return null;
  }

  private async makeFolder(parent: string, name: string): Promise<string> {
    const requestBody = { name, parents: [parent], mimeType: FOLDER_TYPE };
    const { data } = await this.drive.files.create({ requestBody, fields: 'id', ...this.everywhere });
    return data.id ?? '';
  }

  private async isEmpty(folder: string): Promise<boolean> {
    for await (const file of this.search(`'${folder}' in parents and trashed = false`)) return file.id === undefined;
    return true;
  }

  /** For good; where only the owner of a shared drive may do that, into its trash. No error if it is gone already. */
  private async erase(fileId: string): Promise<void> {
    const absent = (error: unknown) => (error as { response?: { status?: number } }).response?.status === 404;
    await this.doing('delete from', async () => {
      try {
        await this.drive.files.delete({ fileId, ...this.everywhere });
      } catch (error) {
        if (absent(error)) return;
        if ((error as { response?: { status?: number } }).response?.status !== 403) throw error;
        await this.drive.files.update({ fileId, requestBody: { trashed: true }, ...this.everywhere });
      }
    });
  }

  /** A request as the account, and once more with a new token if the present one has ended. */
  private async authorized(url: string, options: Omit<Transfer, 'stalledAfter'>): Promise<IncomingMessage> {
    const ask = async () => {
      const granted = Object.fromEntries(await this.client.getRequestHeaders());
      const headers = { ...options.headers, ...granted };
      return transfer(url, { ...options, headers, stalledAfter: this.stalledAfter });
    };
    const response = await ask();
    if (response.statusCode !== 401) return response;
    response.resume();
    this.client.setCredentials({});
    return ask();
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
      throw driveError(error, `${verb} ${this.place}`);
    }
  }
}

/**
 * A resumable upload, as https://developers.google.com/workspace/drive/api/guides/manage-uploads#resumable has it. After a
 * piece whose end is not known it asks how much has arrived, and goes on there.
 */
class Upload {
  /** Bytes that are known to have arrived. */
  sent = 0;
  /** True once Drive has forgotten the upload: then sending a piece again does not help, only beginning anew. */
  isLost = false;
  private pieceStart = 0;
  private unsure = false;

  constructor(
    private readonly request: (headers: Record<string, string>, piece: Uint8Array) => Promise<IncomingMessage>,
  ) {}

  /** Sends a piece, or the rest of it. @returns the file after the last one */
  async send(piece: Buffer, last: boolean): Promise<DriveFile | null> {
    const end = this.pieceStart + piece.length;
    const total = last ? String(end) : '*';
    for (;;) {
      const rest = piece.subarray(this.sent - this.pieceStart);
      const isAsking = this.unsure || (rest.length === 0 && !(last && end === 0));
      const range = isAsking || rest.length === 0 ? '*' : `${this.sent}-${end - 1}`;
      this.unsure = true;
      const response = await this.request(
        { 'content-range': `bytes ${range}/${total}` },
        isAsking ? new Uint8Array(0) : rest,
      );
      const before = this.sent;
      const file = await this.answer(response, end);
      if (file !== null) return file;
      if (!last && this.sent === end) {
        this.pieceStart = end;
        return null;
      }
      if (this.sent === end || (!isAsking && this.sent === before))
        throw unavailable('Google Drive takes no more bytes.');
    }
  }

  private async answer(response: IncomingMessage, end: number): Promise<DriveFile | null> {
    const body = await jsonOf(response);
    const { statusCode } = response;
    if (statusCode === 200 || statusCode === 201) {
      this.sent = end;
      return body;
    }
    if (statusCode === 404 || statusCode === 410) throw this.lost();
    if (statusCode !== 308) throw answered(failureOf(statusCode, body), 'send a piece to Google Drive');
    const { range } = response.headers;
    const arrived = range === undefined ? 0 : Number(/-(\d+)$/.exec(range)?.[1] ?? -1) + 1;
    // What came before this piece is not held any more.
    if (arrived < this.pieceStart || arrived > end) throw this.lost();
    this.sent = arrived;
    this.unsure = false;
    return null;
  }

  private lost(): AppError {
    this.isLost = true;
    return new AppError('STORAGE_REFUSED', LOST);
  }
}

const LOST = 'Google Drive has given up the upload before it was complete.';

/** In a query of Drive. */
const quoted = (text: string) => text.replace(/[\\']/g, '\\$&');

const taken = (location: string) => new AppError('NAME_TAKEN', `${location} is already there.`);

const unavailable = (text: string, cause?: unknown) => new AppError('STORAGE_UNAVAILABLE', text, { cause });

const noFolder = (place: string) =>
  new AppError('STORAGE_REFUSED', `The folder ${place} is not there.`, {
    hint: 'Test the destination: a test makes a folder that is given by its path. Share one that is given by its id.',
  });

const readOnly = (place: string) =>
  new AppError('STORAGE_REFUSED', `Nothing may be added to the folder ${place}.`, {
    hint: 'Share the folder with the account of the destination, as an editor.',
  });
