/** The folder that a file of the server lies in. */
export const folderOf = (path: string) => path.slice(0, Math.max(1, path.lastIndexOf('/')));

/** The last part of a path of the server. */
export const nameOf = (path: string) => path.split('/').findLast((part) => part !== '') ?? path;
