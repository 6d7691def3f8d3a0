import type { SettingValue, Storage, StorageKind } from '../core/ports.js';

/** A kind of distant storage. */
export interface RemoteKind extends StorageKind {
  /** The setting that the first test learns from the server and saves; nothing is stored before it is known. */
  pinned?: string;
  /** Where the settings lead, as a person writes it. @throws AppError BAD_USER_INPUT naming the setting */
  place(values: Values): string;
  /** Opens it; its library is loaded only here. */
  connect(values: Values): Promise<Storage>;
}

/** Settings and secrets of a storage together. */
export type Values = Readonly<Record<string, SettingValue | undefined>>;
