import { headers, OFFLINE, type Problem, problemFrom } from './api.js';
import { BASE } from './base.js';
import { currentToken, endSession } from './session.js';

/** Downloads a new recovery kit. @returns what went wrong; null if nothing did */
export const downloadKit = (): Promise<Problem | null> =>
  downloadAs('recovery-kit.zip', `${BASE}/api/db-manager/recovery-kit/`, 'application/zip');

/** Downloads the report of a drill as a page to print. @returns what went wrong; null if nothing did */
export const downloadReport = (id: string, url: string): Promise<Problem | null> =>
  downloadAs(`${id}.html`, url, 'text/html');

async function downloadAs(name: string, url: string, type: string): Promise<Problem | null> {
  const token = currentToken();
  const response = await fetch(url, { headers: { ...headers(token), Accept: type } }).catch(() => null);
  if (response === null) return OFFLINE;
  if (response.status === 401) endSession(token);
  if (!response.ok) {
    const { message = '', code = '', hint = '' } = (await response.json().catch(() => ({}))) as Partial<Problem>;
    return problemFrom([{ message, extensions: { code, hint } }], response.status);
  }
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(await response.blob());
  anchor.download = name;
  anchor.click();
  URL.revokeObjectURL(anchor.href);
  return null;
}
