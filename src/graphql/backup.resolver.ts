import { BackupCopy, copiesOf } from './copy.type.js';
import type { GraphQLResolveInfo } from 'graphql';
import type { FileUpload } from 'graphql-upload/processRequest.mjs';
import {
  Arg,
  Args,
  Ctx,
  FieldResolver,
  ID,
  Info,
  Int,
  Mutation,
  Query,
  Resolver,
  Root,
  Subscription,
} from 'type-graphql';
import { type BackupOrder as Order, listBackups } from '../core/lists/lists.js';
import { humanSize } from '../core/text/format.js';
import { copyWarnings } from '../core/archives/copies.js';
import { isEncrypted } from '../core/archives/names.js';
import { isForeign } from '../core/archives/origin.js';
import { importArchive } from '../core/backups/recover.js';
import { badInput } from '../errors.js';
import type { BackupRow, VerificationLevel as Level } from '../models/index.js';
import { Admin } from './admin.directive.js';
import { BackupFilter, CreateBackupInput } from './backup.input.js';
import { Backup, BackupConnection, BackupTable, ExcludedTable } from './backup.type.js';
import { BackupConfig } from './config.type.js';
import type { GraphqlContext } from './context.js';
import { EncryptionKey } from './encryption-key.type.js';
import { withExample } from './example.js';
import { IDENTITY } from './identity.js';
import { downloadPath } from './download.resolver.js';
import { BackupOrder, VerificationLevel } from './enums.js';
import { destinationId, isRunId, keyId, optionalConfigId, runId } from './ids.js';
import { type Connection, PageArgs, pageRequest, toConnection } from './page.type.js';
import { runFieldsOf } from './run.resolver.js';
import { ByteSize, Upload } from './scalars.js';
import { watchRun } from './watch.js';

@Resolver(() => Backup)
export class BackupResolver extends runFieldsOf(Backup) {
  @Admin()
  @Query(() => BackupConnection, {
    description: withExample(
      'A page of backups.',
      '{ backups(filter: {status: [COMPLETED], search: "update"}, first: 20) { totalCount nodes { id createdAt fileName fileSizeHuman verifiedAt } pageInfo { endCursor hasNextPage } } }',
    ),
  })
  async backups(
    @Ctx() { services }: GraphqlContext,
    @Args(() => PageArgs) page: PageArgs,
    @Arg('filter', () => BackupFilter, { nullable: true, description: 'Filter; all if left out.' })
    filter?: BackupFilter | null,
    @Arg('orderBy', () => BackupOrder, { nullable: true, description: 'Newest first if left out.' })
    orderBy?: Order | null,
  ): Promise<Connection<Backup>> {
    const wanted = { ...filter, configId: optionalConfigId(filter?.configId) };
    return toConnection(await listBackups(services.models, wanted, orderBy ?? 'CREATED_AT_DESC', pageRequest(page)));
  }

  @Admin()
  @Query(() => Backup, {
    nullable: true,
    description: withExample(
      'One backup; null if no backup has this id.',
      '{ backup(id: "backup_20250724_143022_a1b2c3d4") { status phase progress bytesDone bytesTotal secondsLeft errorMessage errorHint } }',
    ),
  })
  async backup(
    @Ctx() { services }: GraphqlContext,
    @Arg('id', () => ID, { description: 'Such as `backup_20250724_143022_a1b2c3d4`.' }) id: string,
  ): Promise<Backup | null> {
    return isRunId(id) ? services.backups.find(id) : null;
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Requests a backup and returns at once, PENDING. Follow it with `backupProgress`, or query it again.',
      'mutation { createBackup(input: {note: "before the 4.2 update", storageType: SYSTEM, customPath: "/mnt/backups"}) { id status } }',
    ),
  })
  async createBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('input', () => CreateBackupInput, { description: 'What to back up and where to store it; may be `{}`.' })
    input: CreateBackupInput,
  ): Promise<Backup> {
    const { email } = await admin();
    const backupType = input.backupType ?? 'MANUAL';
    if (backupType !== 'MANUAL' && backupType !== 'AUTO') {
      throw badInput('backupType', `${backupType} backups are not made by hand.`, 'Use MANUAL or AUTO.');
    }
    return services.backups.request(
      {
        configId: optionalConfigId(input.configId),
        backupType,
        storageType: input.storageType ?? undefined,
        customPath: input.customPath ?? undefined,
        note: input.note ?? undefined,
        allowDamaged: input.allowDamaged ?? undefined,
        mode: input.mode ?? undefined,
      },
      email,
    );
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Runs an automatic backup now. Returns at once, PENDING.',
      'mutation { autoBackup(configId: "1") { id status } }',
    ),
  })
  async autoBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('configId', () => ID, { nullable: true, description: 'The first config if left out.' }) configId?: string,
  ): Promise<Backup> {
    const { email } = await admin();
    return services.backups.request({ configId: optionalConfigId(configId), backupType: 'AUTO' }, email);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Cancels a backup that is PENDING or RUNNING; it becomes FAILED (CANCELLED).',
      'mutation { cancelBackup(id: "backup_20250724_143022_a1b2c3d4") { status errorCode } }',
    ),
  })
  async cancelBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The backup.' }) id: string,
  ): Promise<Backup> {
    return services.backups.cancel(runId(id), (await admin()).email);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Verifies the copies of a backup again and returns when that is done, as `startVerification` does without waiting. The result is on the backup and its copies. Of an encrypted one that no key opens, only the stored bytes are verified (CHECKSUM).',
      'mutation { verifyBackup(id: "backup_20250724_143022_a1b2c3d4", level: CONTENT) { verifiedAt errorMessage } }',
    ),
  })
  async verifyBackup(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup.' }) id: string,
    @Arg('level', () => VerificationLevel, {
      nullable: true,
      defaultValue: 'ARCHIVE',
      description: 'Verification level.',
    })
    level?: Level | null,
    @Arg('destinationId', () => ID, { nullable: true, description: 'Only the copy there; every copy if left out.' })
    destination?: string | null,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<Backup> {
    const { email } = await admin();
    return services.verifications.verify(runId(id), level ?? 'ARCHIVE', email, signal, {
      destinationId: destination ? destinationId(destination) : undefined,
      identity: identity ?? undefined,
    });
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Encrypts an encrypted backup for other keys instead, without compressing it again, and returns when that is done. Whoever kept a copy of the archive can still open that with the former keys.',
      'mutation { rewrapBackup(id: "backup_20250724_143022_a1b2c3d4", encryptionKeyIds: ["1", "2"]) { fileName encryptionKeys { name } } }',
    ),
  })
  async rewrapBackup(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED, encrypted backup.' }) id: string,
    @Arg('encryptionKeyIds', () => [ID], { description: 'Its keys from now on, at least one.' })
    encryptionKeyIds: string[],
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<Backup> {
    const keys = encryptionKeyIds.map((key) => keyId(key, 'encryptionKeyIds'));
    return services.backups.rewrap(runId(id), keys, (await admin()).email, signal, identity ?? undefined);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Makes a full backup of the state of an incremental one, of the stored archives: the database is not read. Returns the new backup at once, PENDING; follow it as one of `createBackup`. What builds on the incremental one builds on it from then on, and the clean-up deletes what nothing needs any more. An encrypted chain must open with keys that are held here.',
      'mutation { consolidateBackup(id: "backup_20250724_143022_a1b2c3d4") { id status } }',
    ),
  })
  async consolidateBackup(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED, incremental backup.' }) id: string,
  ): Promise<Backup> {
    return services.backups.consolidate(runId(id), (await admin()).email, signal);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Copies a backup to another destination, or tries a failed copy again. Returns at once: `copies` shows the state.',
      'mutation { copyBackup(id: "backup_20250724_143022_a1b2c3d4", destinationId: "2") { copies { status filePath } } }',
    ),
  })
  async copyBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup.' }) id: string,
    @Arg('destinationId', () => ID, { description: 'Where the copy shall lie.' }) destination: string,
  ): Promise<Backup> {
    await services.copies.request(runId(id), destinationId(destination), (await admin()).email);
    return services.backups.get(runId(id));
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Pins a backup, so that it is never deleted, or removes the pin.',
      'mutation { pinBackup(id: "backup_20250724_143022_a1b2c3d4", pinned: true) { pinned } }',
    ),
  })
  async pinBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The backup.' }) id: string,
    @Arg('pinned', () => Boolean, { description: 'False removes the pin.' }) pinned: boolean,
  ): Promise<Backup> {
    return services.backups.pin(runId(id), pinned, (await admin()).email);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Takes back a deletion that waits (`deleteAfter`), with those of the backups that this one builds on.',
      'mutation { keepBackup(id: "backup_20250724_143022_a1b2c3d4") { deleteAfter } }',
    ),
  })
  async keepBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The backup.' }) id: string,
  ): Promise<Backup> {
    return services.backups.keep(runId(id), (await admin()).email);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Says that a backup with anomalies is as it should be: it counts again, later ones are compared with it, and the clean-up of its config goes on. Older suspicious backups of the config are acknowledged with it.',
      'mutation { acknowledgeAnomalies(id: "backup_20250724_143022_a1b2c3d4") { anomaliesAcknowledgedAt } }',
    ),
  })
  async acknowledgeAnomalies(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A COMPLETED backup with anomalies.' }) id: string,
  ): Promise<Backup> {
    return services.backups.acknowledge(runId(id), (await admin()).email);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Deletes the archive; the record stays, DELETED. With `DELETION_DELAY_HOURS` it is only to be deleted then (`deleteAfter`). A pinned one is refused, and one that others build on unless `cascade` deletes those, too.',
      'mutation { deleteBackup(id: "backup_20250724_143022_a1b2c3d4") { status deletedAt } }',
    ),
  })
  async deleteBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'The backup.' }) id: string,
    @Arg('cascade', () => Boolean, { defaultValue: false, description: 'Also deletes the backups that build on it.' })
    cascade: boolean,
  ): Promise<Backup> {
    const email = (await admin()).email;
    const rows = await services.backups.remove([runId(id)], email, undefined, cascade);
    return rows.find((row) => row.id === runId(id)) as BackupRow;
  }

  @Admin()
  @Mutation(() => [Backup], {
    description: withExample(
      'Deletes several archives. All are checked first: if one is pinned, running or being restored, none is deleted. If the storage then refuses one, the error says which were deleted before it.',
      'mutation { deleteBackups(ids: ["backup_20250724_143022_a1b2c3d4", "backup_20250725_020000_b2c3d4e5"]) { id status } }',
    ),
  })
  async deleteBackups(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('ids', () => [ID], { description: 'At least one, at most 500.' }) ids: string[],
  ): Promise<Backup[]> {
    if (ids.length > 500) throw badInput('ids', `holds ${ids.length} ids, more than 500.`);
    return services.backups.remove(
      ids.map((id) => runId(id, 'ids')),
      (await admin()).email,
    );
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Uploads an archive that was downloaded before or made elsewhere. It is verified, and refused if that fails.',
      `curl http://127.0.0.1:4000/graphql -H "Authorization: Bearer $TOKEN" -H "apollo-require-preflight: true" -F operations='{"query": "mutation($file: Upload!) { uploadBackup(file: $file, configId: 1) { id status } }", "variables": {"file": null}}' -F map='{"0": ["variables.file"]}' -F 0=@okpuja_backup_20250724_143022.zip`,
    ),
  })
  async uploadBackup(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('file', () => Upload, {
      description: 'A ZIP archive of this product, encrypted by age or not, or one of the older Django system.',
    })
    file: FileUpload,
    @Arg('configId', () => ID, {
      nullable: true,
      description: 'File it under this config. Left out: under the config of the same application, or under none.',
    })
    configId?: string,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
    @Info() info?: GraphQLResolveInfo,
  ): Promise<Backup> {
    const { email } = await admin();
    // Where another field of the same request failed, the answer would not have this one, though it is stored.
    if (info !== undefined && info.operation.selectionSet.selections.length > 1) {
      throw badInput('file', 'is uploaded beside other fields.', 'Send the upload as the only field of its mutation.');
    }
    return services.backups.upload(
      file.createReadStream(),
      file.filename,
      optionalConfigId(configId),
      email,
      signal,
      identity ?? undefined,
    );
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Takes in an archive that lies on this server, as `uploadBackup` does one that is sent.',
      'mutation { importBackup(path: "/mnt/usb/okpuja_backup_20250724_143022.zip") { id config { name } origin { config host database } } }',
    ),
  })
  async importBackup(
    @Ctx() { services, admin, signal }: GraphqlContext,
    @Arg('path', () => String, { description: 'Absolute path of the ZIP, inside ALLOWED_PATHS where that is set.' })
    path: string,
    @Arg('configId', () => ID, { nullable: true, description: 'As for `uploadBackup`.' }) configId?: string | null,
    @Arg('identity', () => String, IDENTITY) identity?: string | null,
  ): Promise<Backup> {
    const { email } = await admin();
    return importArchive(services, path, optionalConfigId(configId), email, signal, identity ?? undefined);
  }

  @Admin()
  @Mutation(() => Backup, {
    description: withExample(
      'Files a backup under another config, or under none. Under the config of another application it is `foreign`.',
      'mutation { assignBackup(id: "backup_20250724_143022_a1b2c3d4", configId: "2") { config { name } foreign } }',
    ),
  })
  async assignBackup(
    @Ctx() { services, admin }: GraphqlContext,
    @Arg('id', () => ID, { description: 'A backup that is not a safety backup.' }) id: string,
    @Arg('configId', () => ID, { nullable: true, description: 'The config; under none if left out.' })
    configId?: string | null,
    @Arg('sameApplication', () => Boolean, {
      nullable: true,
      defaultValue: false,
      description: "Your word that it was made of the config's application: then it is not `foreign`.",
    })
    sameApplication?: boolean | null,
  ): Promise<Backup> {
    const { email } = await admin();
    return services.backups.assign(runId(id), optionalConfigId(configId) ?? null, email, sameApplication ?? false);
  }

  @Admin()
  @Subscription(() => Backup, {
    description: withExample(
      'A backup as it is now, then on each change; ends when its run has ended.',
      'subscription { backupProgress(id: "backup_20250724_143022_a1b2c3d4") { status phase progress bytesPerSecond secondsLeft } }',
    ),
    subscribe: ({ args: { id }, context: { services, signal } }: { args: { id: string }; context: GraphqlContext }) =>
      watchRun(id, () => services.backups.find(runId(id)), signal),
  })
  backupProgress(@Root() row: BackupRow, @Arg('id', () => ID, { description: 'The backup.' }) _id: string): Backup {
    return row;
  }

  @FieldResolver(() => BackupConfig, {
    nullable: true,
    description: 'What it is a backup of; null if that was deleted.',
  })
  async config(@Root() row: BackupRow, @Ctx() { load }: GraphqlContext): Promise<BackupConfig | null> {
    return row.configId === null ? null : load.config(row.configId);
  }

  @FieldResolver(() => Backup, {
    nullable: true,
    description: 'The backup that an incremental one builds on; null for a full one, or if that is not here.',
  })
  async parent(@Root() row: BackupRow, @Ctx() { services }: GraphqlContext): Promise<Backup | null> {
    return services.backups.parentOf(row);
  }

  @FieldResolver(() => [Backup], { description: 'The incremental backups that build directly on it.' })
  async children(@Root() row: BackupRow, @Ctx() { services }: GraphqlContext): Promise<Backup[]> {
    return services.backups.childrenOf(row);
  }

  @FieldResolver(() => Int, {
    description: 'How many archives a restore of it reads: 1 for a full one, more for an incremental one.',
  })
  chainLength(@Root() row: BackupRow, @Ctx() { services }: GraphqlContext): Promise<number> {
    return services.backups.chainLength(row);
  }

  @FieldResolver(() => ByteSize, {
    nullable: true,
    description:
      'Bytes of the full archive that the chain of an incremental backup began with: about what it would take by itself. Null for a full one.',
  })
  chainFullSize(@Root() row: BackupRow, @Ctx() { services }: GraphqlContext): Promise<number | null> {
    return services.backups.chainFullSize(row);
  }

  @FieldResolver(() => [BackupCopy], { description: 'Where its archive lies. The run itself wrote the first.' })
  copies(@Root() row: BackupRow): BackupCopy[] {
    return copiesOf(row);
  }

  @FieldResolver(() => Boolean, {
    description:
      'Whether its rows can be queried: those of a stored, undamaged backup of SQLite or PostgreSQL; uploaded ones of SQLite only.',
  })
  queryable(@Root() row: BackupRow, @Ctx() { services }: GraphqlContext): boolean {
    return services.insight.isQueryable(row);
  }

  @FieldResolver(() => Boolean, { description: 'Whether its archive is encrypted, in the age format.' })
  encrypted(@Root() { fileName }: BackupRow): boolean {
    return isEncrypted(fileName);
  }

  @FieldResolver(() => [EncryptionKey], {
    description: 'The keys on record that open its archive. An uploaded one may open with others.',
  })
  async encryptionKeys(@Root() { id }: BackupRow, @Ctx() { load }: GraphqlContext): Promise<EncryptionKey[]> {
    return (await load.backupKeys(id))?.keys ?? [];
  }

  @FieldResolver(() => [String], { description: 'What to know about it, such as copies that failed.' })
  warnings(@Root() row: BackupRow): string[] {
    return [...row.warnings, ...copyWarnings(row)];
  }

  @FieldResolver(() => Boolean, {
    description:
      "Its data is of another application than its config's, or it does not say: restoring it there needs `allowForeign`.",
  })
  async foreign(@Root() row: BackupRow, @Ctx() { load }: GraphqlContext): Promise<boolean> {
    return row.configId !== null && isForeign(row, await load.config(row.configId));
  }

  @FieldResolver(() => String, { nullable: true, description: 'Human-readable size, such as `12.5 MiB`.' })
  fileSizeHuman(@Root() { fileSize }: BackupRow): string | null {
    return fileSize === null || fileSize === undefined ? null : humanSize(fileSize);
  }

  @FieldResolver(() => String, {
    nullable: true,
    description: 'Path to download the archive from this server with the same token; null unless COMPLETED.',
  })
  downloadUrl(@Root() { id, status }: BackupRow, @Ctx() { services }: GraphqlContext): string | null {
    return status === 'COMPLETED' ? downloadPath(services, id) : null;
  }

  @FieldResolver(() => [BackupTable], {
    description: 'The tables in the backup, with their rows. Those that could not be counted are named in `warnings`.',
  })
  tables(@Root() { tables }: BackupRow): BackupTable[] {
    return (tables ?? []).flatMap(({ name, rows }) => (rows === null ? [] : [{ name, rowCount: rows }]));
  }

  @FieldResolver(() => [ExcludedTable], {
    description: 'The tables that were left out on request, as a whole or without their rows.',
  })
  excluded(@Root() { excluded }: BackupRow): ExcludedTable[] {
    return excluded ?? [];
  }
}
