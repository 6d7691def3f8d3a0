import { Op } from 'sequelize';
import { AppError, toAppError } from '../../errors.js';
import type { BackupConfigRow } from '../../models/index.js';
import type { CoreEnvironment } from '../environment.js';
import { matcher } from '../text/patterns.js';
import type { FoundDatabase, Servers } from './server.js';
import type { Configs } from './configs.js';

/** What the watch needs of the process around it. */
export type DatabaseWatchEnvironment = Pick<CoreEnvironment, 'models' | 'engines' | 'log' | 'now'> & {
  configs: Configs;
  servers: Servers;
};

/** How long a server may take to list its databases, in milliseconds. */
const PATIENCE = 20_000;
/** No row has it; a list must not be empty. */
const NONE = 0;
/** Who makes configs of databases that appeared. */
const ACTOR = 'system';

type Watched = Pick<BackupConfigRow, 'id' | 'name' | 'engine' | 'databaseKey' | 'autoInclude'>;

/**
 * Finds the databases of protected servers that no config backs up, for `status`, and makes configs of those that a config
 * takes in. It looks in the background: whoever starts it never waits for a server.
 */
export class DatabaseWatch {
  private readonly stopping = new AbortController();
  private looking: Promise<void> | null = null;

  constructor(
    private readonly env: DatabaseWatchEnvironment,
    private readonly patienceMs = PATIENCE,
  ) {}

  /** Begins to look. Never fails. */
  begin(): void {
    if (this.stopping.signal.aborted) return;
    this.look().catch((error: unknown) => {
      if (this.stopping.signal.aborted) return;
      this.env.log.error({ err: error }, 'the databases of servers were not listed');
    });
  }

  /** Looks once; one that is under way is joined. */
  look(): Promise<void> {
    return (this.looking ??= this.lookAround().finally(() => (this.looking = null)));
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.stopping.abort(new AppError('INTERRUPTED', 'The process is stopping.'));
    await this.looking?.catch(() => undefined);
  }

  /** A server that does not answer keeps no other one from being looked at; what is known of it stays. */
  private async lookAround(): Promise<void> {
    const { configs, engines, log } = this.env;
    const rows: Watched[] = await configs.columns(['id', 'name', 'engine', 'databaseKey', 'autoInclude']);
    const all = rows.filter(({ engine }) => engines.of(engine).capabilities.onServer);
    // A config that takes databases in looks for itself: its user may see others.
    const ordered = [...all.filter(takesIn), ...all.filter((config) => !takesIn(config))];
    const listed = new Set<string>();
    for (const config of ordered) {
      if (!takesIn(config) && listed.has(config.databaseKey)) continue;
      try {
        for (const { key } of await this.lookAt(config)) listed.add(key);
      } catch (error) {
        this.stopping.signal.throwIfAborted();
        log.warn({ config: config.id, err: error }, 'the databases of its server could not be listed');
      }
    }
    const ids = all.map(({ id }) => id);
    // What was found by a config that is gone is found again by another one, or by none.
    await this.env.models.ServerDatabase.destroy({
      where: { declinedAt: null, configId: { [Op.notIn]: [NONE, ...ids] } },
    });
  }

  private async lookAt(config: Watched): Promise<FoundDatabase[]> {
    const { models, servers, now } = this.env;
    this.stopping.signal.throwIfAborted();
    const began = now();
    const signal = AbortSignal.any([this.stopping.signal, AbortSignal.timeout(this.patienceMs)]);
    const found = await servers.found(config.id, signal);
    for (const { key, name, configId } of found) {
      if (configId !== null) continue;
      const [row] = await models.ServerDatabase.findOrCreate({
        where: { databaseKey: key },
        defaults: { databaseKey: key, name, configId: config.id, foundAt: began },
      });
      await row.update({ name, configId: config.id, foundAt: began, problem: null });
      if (!row.declinedAt && takes(config, name)) await this.takeIn(config, key, name);
    }
    const gone = { configId: config.id, foundAt: { [Op.lt]: began } };
    await models.ServerDatabase.update({ foundAt: null, problem: null }, { where: gone });
    await models.ServerDatabase.destroy({ where: { configId: config.id, foundAt: null, declinedAt: null } });
    return found;
  }

  private async takeIn({ id, name: like }: Watched, databaseKey: string, name: string): Promise<void> {
    const { models, servers, log } = this.env;
    try {
      const [made] = await servers.protect({ configId: id, names: [name], actor: ACTOR }, this.stopping.signal);
      log.info({ config: made?.id, database: name, like }, 'a database that appeared is backed up from now on');
    } catch (error) {
      this.stopping.signal.throwIfAborted();
      log.warn({ config: id, database: name, err: error }, 'a database that appeared could not be taken in');
      await models.ServerDatabase.update({ problem: toAppError(error).message }, { where: { databaseKey } });
    }
  }
}

const takesIn = ({ autoInclude }: Watched) => Boolean(autoInclude);
const takes = ({ autoInclude }: Watched, name: string) => (autoInclude ? matcher([autoInclude])(name) : false);
