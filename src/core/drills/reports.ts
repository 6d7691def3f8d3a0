import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { Op } from 'sequelize';
import { AppError } from '../../errors.js';
import type { BackupRow, VerificationRow } from '../../models/index.js';
import { trailHead } from '../audit-trail.js';
import type { CoreEnvironment } from '../environment.js';
import type { Secrets } from '../secrets.js';

/** What reports need of the process around them. */
export type ReportsEnvironment = Pick<CoreEnvironment, 'models' | 'now' | 'version'> & { secrets: Secrets };

/** The report of a drill with its signature. */
export interface DrillReport {
  /** JSON; the signature is of its bytes in UTF-8. */
  report: string;
  /** Ed25519. */
  signature: Buffer;
  /** The fingerprint of the key that it was signed with: see `publicKey`. */
  key: string;
}

/** What a report says: numbers and names only, in an order that is always the same. */
export type ReportDocument = ReturnType<typeof documentOf>;

/**
 * Signed reports of drills, which prove to others what was restored when. The key is made once for an installation; it lies
 * sealed in the control database, so that all nodes sign with the same one.
 */
export class DrillReports {
  constructor(private readonly env: ReportsEnvironment) {}

  /** The columns of a drill's row that hold its report. @param error why it failed; null if it passed */
  async make(
    row: VerificationRow,
    backup: BackupRow,
    error: AppError | null,
  ): Promise<Pick<VerificationRow, 'report' | 'reportSignature'>> {
    const { models, now, version } = this.env;
    const { publicKey, privateKey } = await this.key();
    const config = row.configId === null ? null : await models.BackupConfig.findByPk(row.configId);
    const document = documentOf(row, backup, {
      error,
      config: config === null ? null : { id: config.id, name: config.name, applicationId: config.applicationId },
      completedAt: now(),
      versions: { dbManager: version, node: process.versions.node },
      audit: await trailHead(models),
      key: fingerprintOf(publicKey),
    });
    const report = `${JSON.stringify(document, null, 2)}\n`;
    const reportSignature = sign(null, Buffer.from(report), createPrivateKey(privateKey)).toString('base64');
    return { report, reportSignature };
  }

  /** The report of a drill that has ended. @throws AppError NOT_FOUND */
  async get(id: string): Promise<DrillReport> {
    const row = await this.env.models.Verification.findByPk(id);
    const { report = null, reportSignature = null } = row ?? {};
    if (report !== null && reportSignature !== null) {
      const { key } = JSON.parse(report) as ReportDocument;
      return { report, signature: Buffer.from(reportSignature, 'base64'), key };
    }
    throw new AppError('NOT_FOUND', `There is no report of "${id}".`, {
      hint: 'Only drills have one, once they have ended: verifications at level DRILL.',
    });
  }

  /**
   * A public key that reports are verified with, as PEM.
   * @param fingerprint `key` of a report: after a recovery without the former secrets key, older reports have another one.
   * Left out: the key that reports are signed with now
   * @throws AppError NOT_FOUND before the first drill, and for a key that is not of this installation
   */
  async publicKey(fingerprint?: string): Promise<string> {
    if (fingerprint !== undefined) return this.formerKey(fingerprint);
    const row = await this.find();
    if (row !== null) return row.publicKey;
    throw new AppError('NOT_FOUND', 'No drill was made yet, so there is no key of reports.', {
      hint: 'Make a drill first: `db-manager verify latest --level drill`.',
    });
  }

  private async formerKey(fingerprint: string): Promise<string> {
    const rows = await this.env.models.SigningKey.findAll({ attributes: ['publicKey'] });
    const row = rows.find(({ publicKey }) => fingerprintOf(publicKey) === fingerprint);
    if (row !== undefined) return row.publicKey;
    throw new AppError('NOT_FOUND', `key: no report of this installation was signed with the key ${fingerprint}.`, {
      field: 'key',
      hint: 'Give the key of a report of this installation, or leave it out for the present one.',
    });
  }

  private async key(): Promise<{ publicKey: string; privateKey: string }> {
    const { models, secrets, now } = this.env;
    if ((await this.find()) === null) {
      const made = generateKeyPairSync('ed25519', {
        publicKeyEncoding: { type: 'spki', format: 'pem' },
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      });
      const secret = await secrets.seal({ privateKey: made.privateKey });
      await models.SigningKey.create({ publicKey: made.publicKey, secret, createdAt: now() });
    }
    // Another node may have made one at the same moment: the first counts for both.
    const row = await this.find();
    const { privateKey = '' } = await secrets.open(row?.secret ?? '');
    return { publicKey: row?.publicKey ?? '', privateKey };
  }

  private find() {
    return this.env.models.SigningKey.findOne({ where: { secret: { [Op.ne]: null } }, order: [['id', 'ASC']] });
  }
}

/** SHA-256 of a public key in DER, hex. */
const fingerprintOf = (pem: string): string =>
  createHash('sha256')
    .update(createPublicKey(pem).export({ type: 'spki', format: 'der' }))
    .digest('hex');

/** What is not on the rows. */
interface Around {
  error: AppError | null;
  config: { id: number; name: string; applicationId: string } | null;
  completedAt: Date;
  versions: { dbManager: string; node: string };
  audit: { event: number; sha256: string } | null;
  key: string;
}

function documentOf(row: VerificationRow, backup: BackupRow, around: Around) {
  const { drill } = row;
  const { error, config, completedAt, versions, audit, key } = around;
  return {
    format: 'db-manager drill report 1',
    id: row.id,
    result: error === null ? ('PASSED' as const) : ('FAILED' as const),
    error: error === null ? null : { code: error.code, message: error.message },
    startedAt: row.startedAt?.toISOString() ?? null,
    completedAt: completedAt.toISOString(),
    requestedBy: row.createdBy,
    config,
    backup: {
      id: backup.id,
      createdAt: backup.createdAt.toISOString(),
      engine: backup.engine,
      database: backup.databaseName,
      archiveSha256: backup.checksum,
      archiveBytes: backup.fileSize,
      readFrom: drill?.location ?? null,
    },
    restore:
      drill === null
        ? null
        : { seconds: row.restoreSeconds, bytes: drill.bytes, mediaFiles: drill.mediaFiles, target: drill.target },
    tables: drill?.tables.map(({ name, rows }) => ({ name, rows })) ?? [],
    invariants: row.invariants.map(({ name, sql, expect, value, actual, holds }) => ({
      ...{ name, sql, expect, value, actual, holds },
    })),
    command: drill?.command ?? null,
    versions,
    audit,
    key,
  };
}
