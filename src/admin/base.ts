const named = document.querySelector<HTMLMetaElement>('meta[name="base-path"]')?.content ?? '';
const isBelow = `${window.location.pathname}/`.startsWith(`${named}/`);

/**
 * What stands before every address of this server: the sub-path of PUBLIC_URL, such as `/backups`. Empty at the root, and
 * where someone has opened the server itself past its proxy.
 */
export const BASE = isBelow ? named : '';
