import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { packed } from '../../archive/pack.js';
import { MAX_RECIPIENTS, newFileKey, sealedHeader } from '../../archive/seal-header.js';
import { Sealing } from '../../archive/seal.js';
import { maskSecrets } from '../../errors.js';
import type { BackupConfigRow, BackupRow, DestinationRow, EncryptionKeyRow } from '../../models/index.js';
import { KIT_MADE } from '../audit.js';
import { findBases } from '../archives/chains.js';
import type { CoreEnvironment } from '../environment.js';
import type { Keys } from '../keys/keys.js';
import type { Secrets } from '../secrets.js';
import { humanSize } from '../text/format.js';

/** What making a kit needs of the process around it. */
export type KitEnvironment = Pick<CoreEnvironment, 'models' | 'audit' | 'now' | 'version'> & {
  keys: Keys;
  secrets: Secrets;
};

/** Programs that need nothing of db-manager; they lie beside the product's code. */
const PROGRAMS = ['recover.mjs', 'recover.sh'] as const;
const PROGRAM_FOLDER = new URL('../../../recovery/', import.meta.url);
/** Backups are read in pages of so many. */
const PAGE = 500;

/**
 * Makes the recovery kit: a ZIP with which a person gets everything back without db-manager. It says where each backup lies,
 * which key opens it and what its SHA-256 is, and holds programs that turn an archive into files. Secrets of destinations are
 * in it only if they can be encrypted for the keys on record; identities and passphrases never are.
 */
export class RecoveryKits {
  constructor(private readonly env: KitEnvironment) {}

  /** @returns the bytes of the ZIP @throws AppError CONFIG_INVALID if a saved secret does not open */
  async make(actor: string): Promise<Buffer> {
    const { models, audit, now, version } = this.env;
    const at = now();
    const keys = await this.env.keys.list();
    const configs = await models.BackupConfig.findAll({ order: [['id', 'ASC']] });
    const destinations = await models.Destination.findAll({ where: { deletedAt: null }, order: [['id', 'ASC']] });
    const lists = await this.lists(configs);
    const secrets = await this.sealedSecrets(destinations, keys);
    const programs = await Promise.all(PROGRAMS.map((name) => readFile(new URL(name, PROGRAM_FOLDER), 'utf8')));
    const kit = await packed(
      {
        'README.txt': readme({ at, version, keys, newest: lists.newest, hasSecrets: secrets !== null }),
        'backups.txt': lists.backups,
        SHA256SUMS: lists.sums,
        'keys.txt': keysText(keys),
        'configs.json': json(configs.map(configOf)),
        'destinations.json': json(destinations.map(destinationOf)),
        ...(secrets !== null && { 'secrets.json.age': secrets }),
        ...Object.fromEntries(PROGRAMS.map((name, index) => [name, programs[index] ?? ''])),
      },
      at,
    );
    // What the newest kit on record can do is compared with the backups by the status.
    await audit.record(actor, KIT_MADE, null, {
      keys: keys.map(({ id }) => id),
      destinations: destinations.map(({ id }) => id),
      sha256: createHash('sha256').update(lists.sums).digest('hex'),
    });
    return kit;
  }

  /** Every stored archive, newest first. */
  private async lists(
    configs: BackupConfigRow[],
  ): Promise<{ backups: string; sums: string; newest: BackupRow | null }> {
    const names = new Map(configs.map(({ id, name }) => [id, name]));
    const backups: string[] = [];
    const sums: string[] = [];
    let newest: BackupRow | null = null;
    for (let offset = 0; ; offset += PAGE) {
      const rows = await this.env.models.Backup.findAll({
        where: { status: 'COMPLETED' },
        order: [
          ['createdAt', 'DESC'],
          ['id', 'DESC'],
        ],
        limit: PAGE,
        offset,
      });
      newest ??= rows[0] ?? null;
      const keys = new Map((await this.env.keys.ofBackups(rows.map(({ id }) => id))).map((own) => [own.id, own.keys]));
      const parents = await this.parentNames(rows);
      for (const row of rows) {
        const parent = parents.get(row.parentArchiveId ?? '');
        backups.push(backupText(row, { config: names.get(row.configId ?? 0), keys: keys.get(row.id) ?? [], parent }));
        if (row.checksum !== null) sums.push(`${row.checksum}  ${row.fileName}\n`);
      }
      if (rows.length < PAGE) return { backups: backups.join('\n'), sums: sums.join(''), newest };
    }
  }

  /** The file names of what incremental backups build on, by the ids that those give. */
  private async parentNames(rows: BackupRow[]): Promise<Map<string, string>> {
    const ids = rows.flatMap(({ parentArchiveId }) => parentArchiveId ?? []);
    const parents = await findBases(this.env.models, ids);
    return new Map([...parents].map(([id, { fileName }]) => [id, fileName]));
  }

  /** Null where nothing is secret, or no key could open it. */
  private async sealedSecrets(destinations: DestinationRow[], keys: EncryptionKeyRow[]): Promise<Buffer | null> {
    const secrets = [];
    for (const { id, name, storagePath, secrets: sealed } of destinations) {
      if (sealed !== null)
        secrets.push({ id, name: name ?? storagePath, secrets: await this.env.secrets.open(sealed) });
    }
    const sealing = secrets.length === 0 ? null : await sealingFor(this.env.keys, keys);
    return sealing === null ? null : buffer(Readable.from([Buffer.from(json(secrets))]).pipe(sealing));
  }
}

/** Seals for all recipients among the keys, or for the first passphrase where there is none; null where there is no key. */
export async function sealingFor(keys: Keys, rows: EncryptionKeyRow[]): Promise<Sealing | null> {
  const recipients = rows.filter(({ recipient }) => recipient !== null).slice(0, MAX_RECIPIENTS);
  const chosen = recipients.length > 0 ? recipients : rows.slice(0, 1);
  if (chosen.length === 0) return null;
  const fileKey = newFileKey();
  return new Sealing({ header: await sealedHeader(fileKey, await keys.sealedFor(chosen)), fileKey });
}

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

function backupText(
  row: BackupRow,
  { config, keys, parent }: { config: string | undefined; keys: EncryptionKeyRow[]; parent: string | undefined },
): string {
  const copies = row.copies
    .filter(({ status }) => status === 'COMPLETED')
    .map(({ location }) => `  lies at   ${location}`);
  const opens = keys.length === 0 ? [] : [`  opens by  ${keys.map(({ name }) => name).join(', or ')}`];
  return [
    `${row.fileName}`,
    `  made      ${row.createdAt.toISOString()} from ${config ?? row.databaseName}`,
    `  size      ${humanSize(row.fileSize ?? 0)}, SHA-256 ${row.checksum ?? 'not noted'}`,
    ...copies,
    ...opens,
    ...(parent === undefined ? [] : [`  builds on ${parent}`]),
    '',
  ].join('\n');
}

const keysText = (keys: EncryptionKeyRow[]) =>
  keys.length === 0
    ? 'Backups are not encrypted: no key is needed.\n'
    : keys
        .map(({ name, recipient }) =>
          recipient === null
            ? `${name}: a passphrase\n`
            : `${name}: the identity (a text that begins with AGE-SECRET-KEY-1) of the recipient ${recipient}\n`,
        )
        .join('');

/** The settings of a config as they are saved; the URL of its database without a password. */
function configOf(row: BackupConfigRow): object {
  const { databaseKey: _key, environment: _environment, testError: _error, ...settings } = row.get({ plain: true });
  return { ...settings, databaseUrl: maskSecrets(settings.databaseUrl) };
}

function destinationOf({ id, name, storageType, storagePath, offline, settings }: DestinationRow): object {
  return { id, name: name ?? storagePath, storageType, location: storagePath, offline, settings };
}

interface ReadmeFacts {
  at: Date;
  version: string;
  keys: EncryptionKeyRow[];
  newest: BackupRow | null;
  hasSecrets: boolean;
}

function readme({ at, version, keys, newest, hasSecrets }: ReadmeFacts): string {
  const archive = newest?.fileName ?? 'archive.zip';
  const isSealed = archive.endsWith('.age');
  return `RECOVERY KIT

Made ${at.toISOString()} by db-manager ${version}.
Your data is in the backups. This gets it back, with or without db-manager. Take your time.

1. GET AN ARCHIVE
   backups.txt lists every backup, newest first, and where it lies.
   ${newest === null ? 'There was no backup when this kit was made.' : `The newest when this kit was made: ${archive}`}
   Newer ones lie in the same places, and are named by date and time.
   One that builds on another needs that one, and what it builds on, in the same folder.
   Addresses: s3:// a bucket, sftp:// an SSH server, gdrive:// Google Drive, rclone:// a remote of rclone.
${
  hasSecrets
    ? `   The passwords of these places are in secrets.json.age: age -d -i <identity file> secrets.json.age
`
    : ''
}
2. CHECK IT (it may be skipped: step 3 checks it too)
   sha256sum -c SHA256SUMS --ignore-missing

3. UNPACK IT
   ${keys.length === 0 ? 'Backups are not encrypted.' : 'Encrypted archives end with .age. keys.txt names the keys: look where you keep them.'}
   With Node.js 18 or newer, nothing else:
     node recover.mjs ${archive} recovered${isSealed ? ' --identity <identity file>' : ''}
   Or with unzip${isSealed ? ', age' : ''} and sqlite3:
     sh recover.sh ${archive} recovered${isSealed ? ' <identity file>' : ''}
   Where a passphrase is the key, leave the identity out: you are asked.

4. PUT IT BACK
   Stop the application.
   recovered/database.sqlite3 is the database: copy it to where it belongs, with the right owner.
   Remove files of the same name that end with -wal, -shm or -journal there.
   recovered/media/ has the uploaded files. backup_metadata.json says which folder they are from.
   Start the application.

WITH DB-MANAGER ON A NEW MACHINE
   Install it: npm ci
   Name the place that the archives lie in, as destinations.json says, with an empty DATA_DIR:
     npx db-manager recover --from <kind> <setting>=<value> …   (npx db-manager recover --help)
   For encrypted ones add: --identity-file <identity file>
   It brings back configs, destinations, users and history. Then restore: npx db-manager list
   configs.json says how it was set up.
`;
}
