/** How the name of an archive ends. */
export const ARCHIVE_SUFFIX = '.zip';
/** How the name of an archive ends that is sealed in the age format. */
export const SEALED_SUFFIX = `${ARCHIVE_SUFFIX}.age`;
/** True for the name of a sealed archive. */
export const isSealedName = (name: string): boolean => name.endsWith(SEALED_SUFFIX);
/** The media type of an archive. */
export const ARCHIVE_TYPE = 'application/zip';
/** The media type of a sealed archive: the age format has none of its own. */
export const SEALED_TYPE = 'application/octet-stream';

/** The media type of an archive of this name. */
export const mediaTypeOf = (name: string): string => (isSealedName(name) ? SEALED_TYPE : ARCHIVE_TYPE);

/** ZIP's numbers for how an entry is kept: APPNOTE.TXT 4.4.5. */
export const STORED = 0;
export const DEFLATED = 8;
export const ZSTD = 93;

/** Files up to so many bytes are read and compressed in one go, without a stream or a task of their own. */
export const SMALL_BYTES = 128 * 1024;
/** Files up to so many bytes are stored: compressing would gain nothing. */
export const TINY_BYTES = 64;

/** How the name of a backup of the control database begins. It lies among the archives, and is none. */
export const CONTROL_PREFIX = 'db-manager-control_';
/** True for the name of a backup of the control database, such as `db-manager-control_20261126_020000_1a2b3c.zip.age`. */
export const isControlName = (name: string): boolean =>
  name.startsWith(CONTROL_PREFIX) && /^\d{8}_\d{6}_[0-9a-f]{6}\.zip(\.age)?$/.test(name.slice(CONTROL_PREFIX.length));
