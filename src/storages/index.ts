import { isAbsolute, join, resolve } from 'node:path';
import { contained } from '../archive/names.js';
import type { Storages } from '../core/ports.js';
import { AppError, badInput } from '../errors.js';
import { DirectoryStorage } from './directory.js';

/** @param localRoot the folder that all LOCAL archives lie in; absolute */
export function createStorages(localRoot: string): Storages {
  return {
    resolve({ storageType, storagePath }, field) {
      if (storagePath.includes('\0')) throw badInput(field, 'holds a NUL character.');
      if (storagePath.split(/[\\/]/).includes('..')) {
        throw new AppError('PATH_NOT_ALLOWED', `${field}: "${storagePath}" holds "..".`, { field });
      }
      if (storageType === 'SYSTEM') {
        if (isAbsolute(storagePath)) return { storageType, storagePath: resolve(storagePath) };
        throw badInput(field, `"${storagePath}" is not absolute.`, 'SYSTEM needs a path such as /srv/backups.');
      }
      const path = isAbsolute(storagePath) ? resolve(storagePath) : join(localRoot, storagePath);
      if (contained(localRoot, path)) return { storageType, storagePath: path };
      throw new AppError('PATH_NOT_ALLOWED', `${field}: "${storagePath}" is not inside ${localRoot}.`, {
        field,
        hint: 'LOCAL paths lie inside the backups folder. For another folder use storageType SYSTEM.',
      });
    },
    open({ storageType, storagePath }) {
      return new DirectoryStorage(storageType, storagePath, storageType === 'LOCAL' ? localRoot : null);
    },
  };
}
