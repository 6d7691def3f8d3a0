import { isAbsolute, join, resolve } from 'node:path';
import { contained } from '../archive/names.js';
import type { StorageAddress, StorageKind, Storages, StorageSettings } from '../core/ports.js';
import { AppError, badInput } from '../errors.js';
import { DirectoryStorage } from './directory.js';
import { remoteKind, valuesOf } from './kinds.js';
import type { RemoteKind } from './remote-kind.js';
import { LazyStorage, openRemote } from './remote.js';
import { assertKnown, neededText } from './values.js';

/** How the storage at an address is reached; null if nothing says it. */
export type SavedSettings = (address: StorageAddress) => Promise<StorageSettings | null>;

const FOLDER: StorageKind = { secrets: [], reach: [] };

/**
 * @param localRoot the folder that all LOCAL archives lie in; absolute
 * @param saved asked each time that a distant storage is opened
 */
export function createStorages(localRoot: string, saved: SavedSettings = async () => null): Storages {
  const storages: Storages = {
    resolve({ storageType, storagePath }, field) {
      if (storagePath.includes('\0')) throw badInput(field, 'holds a NUL character.');
      if (remoteKind(storageType) !== undefined) return remoteAddress({ storageType, storagePath }, field);
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
      const kind = remoteKind(storageType);
      if (kind === undefined) return openFolder({ storageType, storagePath });
      return new LazyStorage(storageType, storagePath, async () => {
        const settings = await saved({ storageType, storagePath });
        if (settings !== null) {
          assertPinned(kind, settings, storagePath);
          return openRemote(kind, settings);
        }
        throw new AppError('STORAGE_REFUSED', `Nothing says how ${storagePath} is reached.`, {
          hint: 'Give its destination its settings again, or set the variables that it was made from.',
        });
      });
    },
    async isKnown(address) {
      return remoteKind(address.storageType) === undefined || (await saved(address)) !== null;
    },
    kindOf: (type) => remoteKind(type) ?? FOLDER,
    addressOf(settings) {
      const { storageType } = settings;
      const kind = remoteKind(storageType);
      if (kind !== undefined) return { storageType, storagePath: kind.place(valuesOf(settings)) };
      assertKnown(settings.settings, ['path']);
      return storages.resolve({ storageType, storagePath: neededText(settings.settings, 'path') }, 'path');
    },
    connect(settings) {
      const kind = remoteKind(settings.storageType);
      const address = storages.addressOf(settings);
      if (kind === undefined) return openFolder(address);
      return new LazyStorage(address.storageType, address.storagePath, () => openRemote(kind, settings));
    },
  };
  return storages;

  function openFolder({ storageType, storagePath }: StorageAddress): DirectoryStorage {
    const type = storageType === 'LOCAL' ? 'LOCAL' : 'SYSTEM';
    return new DirectoryStorage(type, storagePath, type === 'LOCAL' ? localRoot : null);
  }
}

function remoteAddress({ storageType, storagePath }: StorageAddress, field: string): StorageAddress {
  const scheme = `${storageType.toLowerCase()}://`;
  const path = storagePath.replace(/\/+$/, '');
  if (path.startsWith(scheme) && path.length > scheme.length) return { storageType, storagePath: path };
  throw badInput(field, `"${storagePath}" is not an address such as ${scheme}…`, 'Use the location of a destination.');
}

function assertPinned({ pinned }: RemoteKind, { settings }: StorageSettings, place: string): void {
  if (pinned === undefined || settings[pinned] !== undefined) return;
  throw new AppError('STORAGE_REFUSED', `The ${pinned} of ${place} is not known yet.`, {
    hint: 'Test the destination: a test that succeeds notes it.',
  });
}
