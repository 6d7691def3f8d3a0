/** How the name of an archive ends. */
export const ARCHIVE_SUFFIX = '.zip';
/** The media type of an archive. */
export const ARCHIVE_TYPE = 'application/zip';

/** ZIP's numbers for how an entry is kept: APPNOTE.TXT 4.4.5. */
export const STORED = 0;
export const DEFLATED = 8;
export const ZSTD = 93;

/** Files up to so many bytes are read and compressed in one go, without a stream or a task of their own. */
export const SMALL_BYTES = 128 * 1024;
/** Files up to so many bytes are stored: compressing would gain nothing. */
export const TINY_BYTES = 64;
