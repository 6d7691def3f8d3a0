import { randomBytes } from 'node:crypto';
import { access, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf } from '../errors.js';
import { writeDatabase } from './database.js';
import { writeMedia } from './media.js';

/** A small application to try the product on: where its database and its media lie. */
export interface Sample {
  databaseUrl: string;
  /** Absolute folders. */
  mediaPaths: string[];
}

/**
 * Makes the sample application in `folder`, whole or not at all; one that is there already stays as it is, so that
 * processes which start at once, and later starts, end with the same one.
 * @param folder absolute
 */
export async function createSample(folder: string): Promise<Sample> {
  const media = ['uploads', 'images'];
  const there = await access(folder).then(
    () => true,
    () => false,
  );
  if (!there) {
    const making = join(dirname(folder), `.sample-${randomBytes(4).toString('hex')}`);
    try {
      for (const name of media) await mkdir(join(making, name), { recursive: true, mode: 0o700 });
      await writeDatabase(join(making, 'db.sqlite3'));
      await writeMedia(making);
      await rename(making, folder).catch((error: unknown) => {
        if (!['EEXIST', 'ENOTEMPTY'].includes(errnoOf(error) ?? '')) throw error;
      });
    } finally {
      await rm(making, { recursive: true, force: true });
    }
  }
  return { databaseUrl: sampleUrl(folder), mediaPaths: media.map((name) => join(folder, name)) };
}

/** The URL of the sample's database. @param folder of the sample; absolute */
export const sampleUrl = (folder: string) => `sqlite:${join(folder, 'db.sqlite3')}`;
