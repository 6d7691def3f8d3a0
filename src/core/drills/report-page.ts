import { createHash } from 'node:crypto';
import { escapeHtml } from '../text/html.js';
import type { ReportDocument } from './reports.js';

const STYLE = `body{font:14px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;color:#111}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
th,td{border:1px solid #bbb;padding:.25rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{width:12rem}pre{white-space:pre-wrap;overflow-wrap:anywhere;border:1px solid #bbb;padding:.5rem}`;

/** What a browser may use of the page: its own style. */
export const REPORT_POLICY = `default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;

/** A report as a page to print. All of it is escaped, and nothing in it runs. @param report as it was signed */
export function reportPage(report: string, signature: Buffer): string {
  const {
    id,
    result,
    error,
    startedAt,
    completedAt,
    requestedBy,
    config,
    backup,
    restore,
    tables,
    invariants,
    command,
    ...more
  } = JSON.parse(report) as ReportDocument;
  const facts = rows([
    ['Result', error === null ? result : `${result}: ${error.code}. ${error.message}`],
    ['Began', startedAt],
    ['Ended', completedAt],
    ['Requested by', requestedBy],
    ['Config', config === null ? null : `${config.name} (${config.applicationId})`],
    ['Backup', `${backup.id}, of ${backup.createdAt}`],
    ['Database', `${backup.database} (${backup.engine})`],
    ['Read from', backup.readFrom],
    ['SHA-256 of the archive', backup.archiveSha256],
    ['Restored', restore === null ? 'nothing' : `${restore.bytes} bytes, ${restore.mediaFiles} media files`],
    ['Restore took', typeof restore?.seconds === 'number' ? `${restore.seconds.toFixed(2)} seconds` : null],
    ['Audit trail', more.audit === null ? null : `${more.audit.event} ${more.audit.sha256}`],
    ['Versions', `db-manager ${more.versions.dbManager}, Node.js ${more.versions.node}`],
    ['SHA-256 of the key', more.key],
    ['Signature', signature.toString('base64')],
  ]);
  const parts = [
    `<h1>Drill ${escapeHtml(id)}</h1>`,
    facts,
    ...(tables.length === 0 ? [] : ['<h2>Tables</h2>', rows(tables.map(({ name, rows }) => [name, rows]))]),
    ...(invariants.length === 0
      ? []
      : [
          '<h2>Invariants</h2>',
          rows(
            invariants.map(({ name, holds, actual }) => [
              name,
              `${holds ? 'holds' : 'BROKEN'}: ${actual ?? 'no value'}`,
            ]),
          ),
        ]),
    ...(command === null
      ? []
      : [
          `<h2>Command ${escapeHtml(command.name)}</h2>`,
          rows([
            ['Ended with', command.exitCode ?? 'a signal'],
            ['Took', `${command.seconds.toFixed(2)} seconds`],
          ]),
          `<pre>${escapeHtml(command.output)}</pre>`,
        ]),
  ];
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Drill ${escapeHtml(id)}</title><style>${STYLE}</style></head>
<body>
${parts.join('\n')}
</body>
</html>
`;
}

/** A table of names and values; those without a value are left out. */
function rows(facts: [name: string, value: string | number | null][]): string {
  const lines = facts.flatMap(([name, value]) =>
    value === null ? [] : [`<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(String(value))}</td></tr>`],
  );
  return `<table>${lines.join('\n')}</table>`;
}
