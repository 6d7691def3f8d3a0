import { UploadBackupDocument, type UploadBackupMutation } from '../client/generated/graphql.js';
import { headers, OFFLINE, type Problem, problemFrom, type ServerError, UNSURE, withAdvice } from './api.js';
import { BASE } from './base.js';
import { connectionLost } from './connection.js';
import { currentToken, endSession } from './session.js';

/** What became of an upload. */
export type Uploaded = { backup: UploadBackupMutation['uploadBackup'] } | { problem: Problem };

interface Answer {
  data?: UploadBackupMutation | null;
  errors?: ServerError[];
}

/**
 * Sends one archive as the GraphQL multipart request specification says; the browser reads the file as it sends it.
 * Over XMLHttpRequest, because `fetch` does not report how much of a request is sent.
 * @param options.identity opens an encrypted one
 * @param onSent called with the bytes that are sent so far
 */
export function uploadBackup(
  file: File,
  options: { configId: string | null; identity: string | undefined },
  signal: AbortSignal,
  onSent: (bytes: number) => void,
): Promise<Uploaded> {
  const body = new FormData();
  const variables = { file: null, ...options };
  body.set('operations', JSON.stringify({ query: UploadBackupDocument.toString(), variables }));
  body.set('map', JSON.stringify({ 0: ['variables.file'] }));
  body.set('0', file);
  const request = new XMLHttpRequest();
  if (signal.aborted) return Promise.resolve({ problem: CANCELLED });
  // Until the last byte is sent, the server cannot have stored it.
  let whole = false;
  return new Promise((resolve) => {
    const lost = (problem: Problem) => {
      connectionLost();
      resolve({ problem: withAdvice(problem, whole ? UNSURE : 'Then upload the file again.') });
    };
    request.open('POST', `${BASE}/graphql`);
    const token = currentToken();
    for (const [name, value] of Object.entries(headers(token))) request.setRequestHeader(name, value);
    request.responseType = 'json';
    request.upload.onprogress = ({ loaded }) => onSent(Math.min(loaded, file.size));
    request.upload.onload = () => {
      whole = true;
      onSent(file.size);
    };
    request.onload = () => {
      const answer = read(request.response as Answer | null, request.status, token);
      if ('problem' in answer && answer.problem.code === 'OFFLINE') lost(answer.problem);
      else resolve(answer);
    };
    request.onabort = () => resolve({ problem: CANCELLED });
    request.onerror = () => lost(OFFLINE);
    signal.addEventListener('abort', () => request.abort());
    request.send(body);
  });
}

const CANCELLED: Problem = { code: 'CANCELLED', message: 'Cancelled.', hint: 'Nothing was stored.' };

function read(answer: Answer | null, status: number, token: string | null): Uploaded {
  const backup = answer?.data?.uploadBackup;
  if (backup) return { backup };
  const problem = problemFrom(answer?.errors ?? [], status);
  if (problem.code === 'UNAUTHENTICATED') endSession(token);
  return { problem };
}
