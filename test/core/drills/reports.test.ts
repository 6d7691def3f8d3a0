import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { execFile } from 'node:child_process';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { REPORT_POLICY, reportPage } from '../../../src/core/drills/report-page.js';
import { createWorld, NEVER, type World } from '../../support/world.js';

let world: World;
let folder: string;
beforeEach(async () => {
  world = await createWorld();
  folder = join(world.folder, 'reports');
  await mkdir(folder);
});
afterEach(() => world.close());

async function drill(): Promise<string> {
  const { id: backupId } = await world.backup();
  const { id } = await world.app.verifications.create({ backupId, level: 'DRILL' }, 'boss@example.org');
  await world.app.verifications.run(id, NEVER);
  return id;
}

/** What openssl says, which knows nothing of this product. */
async function verify(report: string | Buffer, signature: Buffer, key: string): Promise<string> {
  const [data, sig, pem] = ['report.json', 'report.sig', 'key.pem'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await Promise.all([writeFile(data, report), writeFile(sig, signature), writeFile(pem, key)]);
  const args = ['pkeyutl', '-verify', '-pubin', '-inkey', pem, '-rawin', '-in', data, '-sigfile', sig];
  return promisify(execFile)('openssl', args).then(
    ({ stdout }) => stdout.trim(),
    ({ stdout }: { stdout: string }) => stdout.trim(),
  );
}

describe('The report of a drill', () => {
  it('is verified by openssl alone, and no longer once one byte was changed', async () => {
    const id = await drill();
    const { reports } = world.app;
    const [{ report, signature }, key] = [await reports.get(id), await reports.publicKey()];
    expect(await verify(report, signature, key)).toBe('Signature Verified Successfully');
    const changed = Buffer.from(report);
    changed[changed.indexOf('50')] = 0x36;
    expect(await verify(changed, signature, key)).toBe('Signature Verification Failure');
  });

  it('says what was restored of which archive, and names the end of the audit trail', async () => {
    const id = await drill();
    const row = await world.app.verifications.get(id);
    const backup = await world.app.backups.get(row.backupId);
    expect(JSON.parse(row.report ?? '')).toMatchObject({
      format: 'db-manager drill report 1',
      ...{ id, result: 'PASSED', error: null, requestedBy: 'boss@example.org', config: { id: 1, name: 'App' } },
      backup: {
        id: backup.id,
        archiveSha256: backup.checksum,
        archiveBytes: backup.fileSize,
        readFrom: backup.filePath,
      },
      restore: { seconds: row.restoreSeconds, mediaFiles: 3 },
      tables: expect.arrayContaining([{ name: 'account', rows: 50 }]),
      versions: { node: process.versions.node },
      audit: { event: expect.any(Number), sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      key: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
  });

  it('is made of a drill that failed too, with the reason', async () => {
    const broken = { name: 'No one', sql: 'SELECT id FROM account', expect: 'EMPTY' as const, value: null };
    await world.app.models.BackupConfig.update({ invariants: [broken] }, { where: { id: 1 } });
    const { report } = await world.app.reports.get(await drill());
    expect(JSON.parse(report)).toMatchObject({
      result: 'FAILED',
      error: { code: 'INVARIANT_BROKEN' },
      invariants: [{ name: 'No one', holds: false }],
    });
  });

  it('is signed by all nodes with one key, which lies sealed and outlives a new secrets key', async () => {
    await drill();
    const key = await world.app.reports.publicKey();
    const other = await world.again();
    expect(await other.reports.publicKey()).toBe(key);
    await world.app.destinations.rotateKey('test');
    const { report, signature } = await world.app.reports.get(await drill());
    expect(await verify(report, signature, key)).toBe('Signature Verified Successfully');
    const [row] = await world.app.models.SigningKey.findAll();
    expect(row?.secret).not.toContain('PRIVATE KEY');
    expect((await stat(join(world.folder, 'data', 'secrets-key'))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(world.folder, 'data', 'secrets-key'), 'utf8')).not.toContain('PRIVATE KEY');
  });

  it('that cannot be signed leaves the outcome of the drill as it is, with a warning', async () => {
    await drill();
    await writeFile(join(world.folder, 'data', 'secrets-key'), `${'k'.repeat(64)}\n`);
    const warnings = [
      expect.stringMatching(/^There is no signed report of this drill: A secret of the control database/),
    ];
    const { verifications, models } = world.app;
    const passed = await verifications.get(await drill());
    expect(passed).toMatchObject({ status: 'COMPLETED', errorCode: null, report: null, warnings });
    const broken = { name: 'No one', sql: 'SELECT id FROM account', expect: 'EMPTY' as const, value: null };
    await models.BackupConfig.update({ invariants: [broken] }, { where: { id: 1 } });
    const failed = await verifications.get(await drill());
    expect(failed).toMatchObject({ status: 'FAILED', errorCode: 'INVARIANT_BROKEN', report: null, warnings });
  });

  it('of a former key is verified with that key, also when others are signed with a new one', async () => {
    const { reports } = world.app;
    const former = await reports.get(await drill());
    // As a recovery without the secrets key leaves it.
    await world.app.models.SigningKey.update({ secret: null }, { where: {} });
    const present = await reports.get(await drill());
    expect(present.key).not.toBe(former.key);
    for (const { report, signature, key } of [former, present]) {
      expect(await verify(report, signature, await reports.publicKey(key))).toBe('Signature Verified Successfully');
    }
    expect(await reports.publicKey()).toBe(await reports.publicKey(present.key));
    await expect(reports.publicKey('0'.repeat(64))).rejects.toMatchObject({ code: 'NOT_FOUND', field: 'key' });
  });

  it('is a page that runs nothing, whatever the names in it are', async () => {
    const id = await drill();
    const { report, signature } = await world.app.reports.get(id);
    const hostile = report
      .replaceAll('account', '<script>alert(1)</script>')
      .replaceAll('App', '<img src=x onerror=y>');
    const page = reportPage(hostile, signature);
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;');
    expect(page).not.toMatch(/<(script|img|a|iframe|link)\b/);
    expect(REPORT_POLICY).toMatch(/^default-src 'none'; .*style-src 'sha256-[A-Za-z0-9+/]{43}='$/);
  });

  it('is not there for other verifications', async () => {
    const { id: backupId } = await world.backup();
    const { id } = await world.app.verifications.create({ backupId, level: 'CHECKSUM' }, 'test');
    await world.app.verifications.run(id, NEVER);
    await expect(world.app.reports.get(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
