import type { JobHandlers } from './index.js';

/** Makes the automatic backups that are due, of all configs. Any node may do it; a due time is taken once. */
export const dailyBackupJob =
  (scheduler: { tick(): Promise<number> }): JobHandlers['daily-backup'] =>
  async () => {
    await scheduler.tick();
  };
