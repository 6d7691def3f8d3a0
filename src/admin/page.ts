import { type ComponentType, lazy } from 'react';
import { whenThere } from './connection.js';

/** So often it is tried to load a file while the server can be reached. */
const TRIES = 3;

/** A page's file cannot be loaded although the server can be reached: most likely it is of a build that is gone. */
export class PageGone extends Error {}

/** A page in a file of its own, loaded when it is opened. Where the server is away, it comes as soon as the server is back. */
export const page = <Props>(load: () => Promise<{ default: ComponentType<Props> }>) => lazy(() => attempt(load, 1));

async function attempt<Loaded>(load: () => Promise<Loaded>, count: number): Promise<Loaded> {
  try {
    return await load();
  } catch (cause) {
    if (count === TRIES) throw new PageGone('The file of this page cannot be loaded.', { cause });
    await whenThere();
    return attempt(load, count + 1);
  }
}
