import { headers, OFFLINE, type Problem, problemFrom } from './api.js';
import { currentToken, endSession } from './session.js';

/** Downloads a new recovery kit. @returns what went wrong; null if nothing did */
export async function downloadKit(): Promise<Problem | null> {
  const token = currentToken();
  const response = await fetch('/api/db-manager/recovery-kit/', { headers: headers(token) }).catch(() => null);
  if (response === null) return OFFLINE;
  if (response.status === 401) endSession(token);
  if (!response.ok) {
    const { message = '', code = '', hint = '' } = (await response.json().catch(() => ({}))) as Partial<Problem>;
    return problemFrom([{ message, extensions: { code, hint } }], response.status);
  }
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(await response.blob());
  anchor.download = 'recovery-kit.zip';
  anchor.click();
  URL.revokeObjectURL(anchor.href);
  return null;
}
