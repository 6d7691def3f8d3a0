import type { UploadBackupMutation } from '../client/generated/graphql.js';
import { type Problem, tellProblem } from './api.js';
import { whenThere } from './connection.js';
import { currentToken, onSignIn, onSignOut } from './session.js';
import { createStore, useStore } from './store.js';
import { uploadBackup } from './upload.js';

export type UploadState = 'waiting' | 'sending' | 'sent' | 'done' | 'failed';

/** A file on its way to the server. */
export interface Upload {
  id: number;
  file: File;
  /** What it is to be filed under; null leaves that to the archive. */
  config: { id: string; name: string } | null;
  state: UploadState;
  /** Bytes that are sent. */
  sent: number;
  /** Speed so far; 0 while it is unknown. */
  bytesPerSecond: number;
  /** The backup that became of it. */
  backup?: UploadBackupMutation['uploadBackup'];
  problem?: Problem;
  /** Opens an encrypted one: kept until it is sent. */
  identity?: string;
}

/** Before so many seconds have passed, a speed would be a guess. */
const SOON = 1;

/** From the beginning. */
const AGAIN = { state: 'waiting', sent: 0, bytesPerSecond: 0, problem: undefined } as const;

/** The files of this tab, in their order. Kept outside of the page, so that uploads go on while one looks at others. */
const uploads = createStore<readonly Upload[]>([]);
let last = 0;
let present: { id: number; stop: AbortController } | null = null;

export const useUploads = () => useStore(uploads);

export const isWaiting = ({ state }: Upload) => state === 'waiting' || state === 'sending' || state === 'sent';

/** Sends these files, one after the other. @returns their ids here */
export function addUploads(files: readonly File[], config: Upload['config']): number[] {
  const added = files.map((file) => ({ ...AGAIN, config, file, id: ++last }));
  uploads.set([...uploads.get(), ...added]);
  void sendNext();
  return added.map(({ id }) => id);
}

/** Sends it again. @param identity opens an encrypted archive */
export function retryUpload(id: number, identity?: string): void {
  change(id, identity === undefined ? AGAIN : { ...AGAIN, identity });
  void sendNext();
}

/** Cancels it, or takes it from the list if it has ended. */
export function dropUpload(id: number): void {
  const dropped = uploads.get().find((upload) => upload.id === id);
  if (present?.id === id) present.stop.abort();
  if (dropped?.state === 'sent')
    tellProblem({
      code: 'CANCELLED',
      message: `The upload of ${dropped.file.name} was abandoned.`,
      hint: 'The whole file had been sent, so it may still appear under Backups.',
    });
  uploads.set(uploads.get().filter((upload) => upload.id !== id));
  void sendNext();
}

async function sendNext(): Promise<void> {
  const next = uploads.get().find(({ state }) => state === 'waiting');
  if (present !== null || next === undefined) return;
  const { id, file, config, identity } = next;
  const token = currentToken();
  present = { id, stop: new AbortController() };
  change(id, { state: 'sending' });
  const problem = (await isArchive(file))
    ? await send(id, file, { configId: config?.id ?? null, identity }, present.stop.signal)
    : {
        code: 'BAD_USER_INPUT',
        message: 'This is neither a ZIP file nor one that age has encrypted.',
        hint: 'Choose a backup archive: a .zip or .zip.age file.',
      };
  present = null;
  // The session was refused, not the file: after the next sign-in it is sent again.
  const refused = problem?.code === 'UNAUTHENTICATED';
  if (refused) change(id, AGAIN);
  else change(id, { identity: undefined, ...(problem && { state: 'failed', problem }) });
  if (refused && currentToken() === token) return;
  // The next one would fare no better.
  if (problem?.code === 'OFFLINE') await whenThere();
  void sendNext();
}

async function send(
  id: number,
  file: File,
  options: { configId: string | null; identity: string | undefined },
  signal: AbortSignal,
): Promise<Problem | null> {
  const begin = Date.now();
  const onSent = (sent: number) => {
    const seconds = (Date.now() - begin) / 1000;
    const bytesPerSecond = seconds < SOON ? 0 : sent / seconds;
    change(id, { sent, bytesPerSecond, state: sent === file.size ? 'sent' : 'sending' });
  };
  const answer = await uploadBackup(file, options, signal, onSent);
  if ('problem' in answer) return answer.problem;
  change(id, { state: 'done', backup: answer.backup });
  return null;
}

/** By its first bytes, before gigabytes are sent in vain. A folder, or a file that has gone, cannot be read. */
async function isArchive(file: File): Promise<boolean> {
  const start = await file
    .slice(0, AGE.length)
    .text()
    .catch(() => '');
  return start.startsWith('PK\x03\x04') || start === AGE;
}

/** How an archive begins that is encrypted. */
const AGE = 'age-encryption.org/v1\n';

function change(id: number, values: Partial<Upload>): void {
  uploads.set(uploads.get().map((upload) => (upload.id === id ? { ...upload, ...values } : upload)));
}

onSignIn(() => void sendNext());
onSignOut(() => {
  present?.stop.abort();
  uploads.set([]);
});
window.addEventListener('beforeunload', (event) => {
  if (uploads.get().some(isWaiting)) event.preventDefault();
});
