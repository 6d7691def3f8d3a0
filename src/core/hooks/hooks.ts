import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, errnoOf, toAppError } from '../../errors.js';
import type { BackupConfigRow } from '../../models/index.js';
import { type CommandKind, type Commands, failureOf } from '../commands/commands.js';
import type { CoreEnvironment } from '../environment.js';
import type { Run } from '../runs/run.js';

/** What an operator lays down to be run around each backup and restore. */
export const HOOKS: CommandKind = {
  noun: 'hook',
  folderVariable: 'HOOKS_DIR',
  secondsVariable: 'HOOK_SECONDS',
  refusal: (text, hint) => new AppError('HOOK_FAILED', `HOOKS_DIR: ${text}`, { hint }),
  failed: 'HOOK_FAILED',
};

const HOOK_NAMES = ['before-backup', 'after-backup', 'before-restore', 'after-restore'] as const;
type HookName = (typeof HOOK_NAMES)[number];

/** What a hook is told of its run, as variables of its environment. No value is a secret. */
export interface HookFacts {
  DATABASE: string;
  BACKUP_ID: string;
  BACKUP_TYPE?: string;
  RESTORE_ID?: string;
  /** Whether a restore goes into the config's own database. */
  TARGET?: 'config' | 'other';
  CONFIG_ID?: string;
  CONFIG_NAME?: string;
}

/** The part of the facts that names a config. */
export const configFacts = (config: BackupConfigRow | null): Pick<HookFacts, 'CONFIG_ID' | 'CONFIG_NAME'> =>
  config === null ? {} : { CONFIG_ID: String(config.id), CONFIG_NAME: config.name.replace(/\p{Cc}/gu, ' ') };

/** How many lines of its output the error of a hook quotes. */
const LINES = 5;

/**
 * Executables of an operator that run before and after each backup and restore, in the process that does the run. Their names
 * are fixed: nothing in the API leads to them.
 */
export class Hooks {
  constructor(
    private readonly env: Pick<CoreEnvironment, 'log' | 'workFolder'>,
    private readonly commands: Commands,
  ) {}

  /**
   * Runs the hook before a run, if there is one, as a phase of it.
   * @throws AppError HOOK_FAILED if it does not end with 0 in time, or may not be run; the reason for which the run was aborted
   */
  async before(what: 'backup' | 'restore', run: Run, facts: () => Promise<HookFacts>): Promise<void> {
    const name: HookName = `before-${what}`;
    if (!(await this.isThere(name))) return;
    const { signal } = await run.phase('before-hook', 'steps');
    await this.run(name, run, { ...(await facts()) }, signal);
  }

  /**
   * Runs the hook after a run, if there is one. Past the point of no return: whatever goes wrong becomes a warning of the run,
   * also that it was cancelled. What was cancelled before still gets its hook, which may have to undo what the first one did.
   * @param error why the run fails; null if it is completed
   * @param isEnded whether the row says so already
   * @returns the warning; null if all went well
   */
  async after(
    what: 'backup' | 'restore',
    run: Run,
    facts: () => Promise<HookFacts>,
    error: AppError | null,
    isEnded = false,
  ): Promise<string | null> {
    const name: HookName = `after-${what}`;
    try {
      if (!(await this.isThere(name))) return null;
      if (!isEnded && !run.signal.aborted) await run.phase('after-hook', 'steps');
      const failed = error !== null && { ERROR_CODE: error.code };
      const outcome = { STATUS: error === null ? 'COMPLETED' : 'FAILED', ...failed };
      await this.run(name, run, { ...(await facts()), ...outcome }, run.lastSignal());
      return null;
    } catch (thrown) {
      const { code, message } = toAppError(thrown);
      return code === 'HOOK_FAILED' ? message : `The hook ${name} did not run to its end: ${message}`;
    }
  }

  /** Why hooks would be refused, and which files are no hooks though they lie among them. */
  async problems(): Promise<{ refused: AppError[]; unknown: string[]; hooks: HookName[] }> {
    const refused: AppError[] = [];
    const hooks: HookName[] = [];
    for (const name of HOOK_NAMES) {
      try {
        if (await this.isThere(name)) hooks.push(name);
      } catch (error) {
        refused.push(toAppError(error));
      }
    }
    const { folder } = this.commands;
    const names = folder === null ? [] : await readdir(folder).catch(() => []);
    return { refused: distinct(refused), unknown: names.filter((name) => !isHook(name)), hooks };
  }

  private async isThere(name: HookName): Promise<boolean> {
    return this.commands.folder !== null && (await this.commands.look(name)) !== null;
  }

  private async run(name: HookName, run: Run, facts: Record<string, string>, signal: AbortSignal): Promise<void> {
    const cwd = join(this.env.workFolder, run.id, 'hook');
    try {
      await mkdir(cwd, { recursive: true, mode: 0o700 });
      const ended = await this.commands.run(name, { cwd, env: { HOOK: name, ...facts }, signal });
      const failure = failureOf(ended, LINES);
      const { output } = ended;
      if (failure === null) return this.env.log.info({ run: run.id, hook: name, output }, 'a hook has run');
      this.env.log.error({ run: run.id, hook: name, output }, 'a hook failed');
      throw new AppError('HOOK_FAILED', `The hook ${name} ${failure}`, {
        ...(ended.late && { hint: `Find out what it waits for, or raise ${HOOKS.secondsVariable}.` }),
      });
    } finally {
      await rm(cwd, { recursive: true, force: true }).catch((error: unknown) => {
        this.env.log.warn(
          { err: error, folder: cwd, code: errnoOf(error) },
          'the folder of a hook could not be removed',
        );
      });
    }
  }
}

const isHook = (name: string) => (HOOK_NAMES as readonly string[]).includes(name);

/** A folder that is not safe is one problem, not one for each name. */
const distinct = (errors: AppError[]) => [...new Map(errors.map((error) => [error.message, error])).values()];
