/* The compiled command line on an installation of its own. */
import { execFileSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from './measure.mjs';

const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

export class Product {
  /** @param folder gets the data, the backups and what is restored */
  constructor(folder, { database, media, url = `sqlite:${database}` }) {
    this.folder = folder;
    this.env = {
      PATH: process.env.PATH,
      HOME: folder,
      DATA_DIR: join(folder, 'data'),
      DB_BACKUP_PATH: join(folder, 'backups'),
      DATABASE_URL: url,
      ...(media ? { MEDIA_PATHS: media } : {}),
    };
  }

  /** Makes the installation: what is measured later is not its first start. */
  async prepare() {
    await mkdir(this.folder, { recursive: true });
    this.ask('list');
  }

  /** The JSON document that a command answers with. */
  ask(...args) {
    const output = execFileSync(process.execPath, [CLI, '--json', ...args], { cwd: this.folder, env: this.env });
    return JSON.parse(output.toString());
  }

  /** Runs a command and measures it. */
  run(args) {
    return runCommand(`"${process.execPath}" "${CLI}" ${args}`, { cwd: this.folder, env: this.env });
  }

  backup = () => this.run('backup');

  /** Bytes of the newest archive. */
  archiveSize = () => statSync(this.newestArchive()).size;

  newestArchive() {
    const folder = this.env.DB_BACKUP_PATH;
    const names = readdirSync(folder).filter((name) => name.endsWith('.zip'));
    return names.map((name) => join(folder, name)).sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs)[0];
  }

  /** The id of the newest backup that was asked for. */
  backupId = () => this.ask('list').backups.find(({ backupType }) => backupType !== 'SAFETY').id;

  /** Takes away what other runs have left, so that the disk does not fill up. */
  clear = (...names) => Promise.all(names.map((name) => rm(join(this.folder, name), { recursive: true, force: true })));
}
