import type { JobHandlers } from './index.js';

/** Deletes, for each config, what its retention plan of this moment says, and nothing else. */
export const cleanupJob =
  (cleanup: { runScheduled(): Promise<void> }): JobHandlers['cleanup'] =>
  () =>
    cleanup.runScheduled();
