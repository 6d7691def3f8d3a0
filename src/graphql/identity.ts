/** Options of an argument that opens an encrypted backup. */
export const IDENTITY = {
  nullable: true,
  description:
    'Opens an encrypted backup: an age identity, the text of a key file, or a passphrase. Used for this once and never kept. Left out: the keys that are held here do.',
};
