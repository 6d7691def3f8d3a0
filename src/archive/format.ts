/** How the name of an archive ends. */
export const ARCHIVE_SUFFIX = '.zip';
/** The media type of an archive. */
export const ARCHIVE_TYPE = 'application/zip';
