import type { Readable } from 'node:stream';

/** A table and the number of its rows. */
export interface TableCount {
  name: string;
  rows: number;
}

/** An app of the protected application and its newest migration (Django's `django_migrations`). */
export interface AppVersion {
  app: string;
  latestMigration: string;
}

/** One file that goes into an archive: its path there, and how its bytes are had. `open` is called once. */
export interface SourceFile {
  path: string;
  /** Bytes, where known before reading. */
  size?: number;
  mtime?: Date;
  mode?: number;
  open(): Promise<Readable>;
}
