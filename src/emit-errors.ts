import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { EXIT_CODES } from './exit-codes.js';
import { type ErrorCode, ERRORS, mayPass } from './errors.js';
import { HTTP_STATUS } from './http/error-handler.js';

const FILE = new URL('../docs/errors.md', import.meta.url);

const INTRODUCTION = `<!-- Written by \`npm run docs\`. Do not edit. -->

# Errors

Every error has a code, the same everywhere: \`extensions.code\` over GraphQL, \`code\` over REST, and the exit code of a
command. The message says what happened in this case, the hint what to do about it; the table has the general meaning
and hint of each code. Where "try again" says yes, the cause can pass by itself: a failed automatic backup is then tried
again after 1, 5 and 15 minutes. The [troubleshooting page](troubleshooting.md) starts from what you see instead.`;

/** The page docs/errors.md, from the catalogue. */
export function errorsPage(): string {
  const rows = (Object.keys(ERRORS) as ErrorCode[]).map((code) => {
    const { meaning, hint } = ERRORS[code];
    return row(code, HTTP_STATUS[code], EXIT_CODES[code], mayPass(code) ? 'yes' : '', escaped(meaning), escaped(hint));
  });
  const header = row('code', 'HTTP status', 'exit code', 'try again', 'what it means', 'what to do');
  return `${[INTRODUCTION, '', header, row('---', '---:', '---:', '---', '---', '---'), ...rows].join('\n')}\n`;
}

const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`;

/** Outside code, Markdown would take `<prefix>` for a tag and `|` for the end of the cell. */
function escaped(text: string): string {
  return text
    .split(/(`[^`]*`)/)
    .map((part) => (part.startsWith('`') ? part : part.replace(/[<|]/g, '\\$&')))
    .join('');
}

/** `npm run docs` writes the page; with `--check` it only fails if the page is not what would be written. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const text = errorsPage();
  if (!process.argv.includes('--check')) await writeFile(FILE, text);
  else if ((await readFile(FILE, 'utf8').catch(() => '')) !== text) {
    process.stderr.write('docs/errors.md is not what the code says. Run `npm run docs` and commit it.\n');
    process.exitCode = 1;
  }
}
