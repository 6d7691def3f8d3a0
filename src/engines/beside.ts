import { randomBytes } from 'node:crypto';

/** A database that a restore makes beside its target. */
export const newName = (stamp: string): string => `dbm_new_${stamp}`;
/** What was at the target before, between the switch and the end of the restore. */
export const oldName = (stamp: string): string => `dbm_old_${stamp}`;

/** A database of ours that nobody has used up is of a process that died if it is older than this, in milliseconds. */
const LEFT_AFTER = 86_400_000;
const LEFT = /^dbm_(?:drill|look|new_restore|new_verify|new_look)_(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)_[0-9a-f]{8}$/;

/** A database of a drill: its name says when it was made. */
export function drillName(): string {
  const at = new Date().toISOString().replace(/[-:]/g, '').slice(0, 15).replace('T', '_');
  return `dbm_drill_${at}_${randomBytes(4).toString('hex')}`;
}

/** The database of the drill or look with this run id, such as `verify_20250724_150000_a1b2c3d4`. */
export const scratchName = (runId: string): string => `dbm_${runId.replace(/^verify_/, 'drill_')}`;

/** Fails unless a database that is about to be dropped is the one of this run, whatever the URL names. */
export function assertScratch(database: string, runId: string): void {
  if (database !== scratchName(runId)) throw new Error(`"${database}" is not the scratch database of ${runId}.`);
}

/** True for a database that a restore, a drill or a look has made for itself. */
export const isOurs = (name: string): boolean => /^dbm_(new|old|drill|look)_/.test(name);

/** True for a database of ours that a process has left behind when it died. */
export function isLeftover(name: string): boolean {
  const [, year, month, day, hours, minutes, seconds] = LEFT.exec(name) ?? [];
  const madeAt = Date.parse(`${year}-${month}-${day}T${hours}:${minutes}:${seconds}Z`);
  return Date.now() - madeAt > LEFT_AFTER;
}
