import { statfs } from 'node:fs/promises';
import { AppError } from '../../errors.js';
import type { Engine, StepContext } from '../ports.js';

/**
 * Lays a copy of a live database in a folder. Whether it is damaged is not looked at.
 * @throws AppError STORAGE_FULL, DATABASE_…
 */
export async function takeCopy(engine: Engine, url: string, folder: string, step: StepContext): Promise<void> {
  const { bytes } = await engine.check(url);
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < bytes) throw new AppError('STORAGE_FULL', `There is no room for a copy of it in ${folder}.`);
  const copying = new AbortController();
  const signal = AbortSignal.any([step.signal, copying.signal]);
  const { contents } = await engine.snapshot(url, folder, { ...step, signal });
  copying.abort(new AppError('CANCELLED', 'The rest of the snapshot is not needed.'));
  await contents.catch(() => undefined);
}

/**
 * Where the rows of a live database are read, as `RowReader` takes it: a copy of it that is laid in a folder, or itself where it is
 * on a server.
 * @throws AppError as `takeCopy`
 */
export async function rowsOfLive(engine: Engine, url: string, folder: string, step: StepContext): Promise<string> {
  if (engine.capabilities.onServer) return url;
  await takeCopy(engine, url, folder, step);
  return folder;
}
