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
      switch (storageType) {
        case 'LOCAL': {
          const path = isAbsolute(storagePath) ? resolve(storagePath) : join(localRoot, storagePath);
          if (!contained(localRoot, path)) {
            throw new AppError('PATH_NOT_ALLOWED', `${field}: "${storagePath}" is not inside ${localRoot}.`, {
              field,
              hint: 'LOCAL paths lie inside the backups folder. For another folder use storageType SYSTEM.',
            });
          }
          return { storageType, storagePath: path };
        }
        case 'SYSTEM':
          if (!isAbsolute(storagePath)) {
            throw badInput(field, `"${storagePath}" is not absolute.`, 'SYSTEM needs a path such as /srv/backups.');
          }
          return { storageType, storagePath: resolve(storagePath) };
        default:
          throw new AppError('STORAGE_UNSUPPORTED', `${storageType} storage is not available.`, {
            field: 'storageType',
          });
      }
    },
    open({ storageType, storagePath }) {
      if (storageType !== 'LOCAL' && storageType !== 'SYSTEM') {
        throw new AppError('STORAGE_UNSUPPORTED', `${storageType} storage is not available.`, { field: 'storageType' });
      }
      return new DirectoryStorage(storageType, storagePath, storageType === 'LOCAL' ? localRoot : null);
    },
  };
}
