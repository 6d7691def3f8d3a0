import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { makeFolder } from '../archive/make-folder.js';
import { reportPage } from '../core/drills/report-page.js';
import { writeNewFile } from './new-file.js';
import type { GlobalOptions } from './print.js';
import { inSession } from './session.js';

export function addDrillReport(program: Command): void {
  program
    .command('drill-report')
    .description(
      'Write the signed report of a drill into a folder: ID.json, its signature ID.sig, the public key ID.pem, and ID.html ' +
        'to print. JSON: {files: […]}',
    )
    .argument('<id>', 'a drill that has ended, such as verify_20250724_150000_a1b2c3d4')
    .requiredOption('--to <folder>', 'where; files that are there already are not replaced')
    .action((id: string, { to }: { to: string }, command: Command) =>
      inSession(command.optsWithGlobals<GlobalOptions>(), async ({ app, print }) => {
        const { report, signature, key } = await app.reports.get(id);
        const contents: [name: string, content: string | Buffer][] = [
          [`${id}.json`, report],
          [`${id}.sig`, signature],
          [`${id}.html`, reportPage(report, signature)],
          [`${id}.pem`, await app.reports.publicKey(key)],
        ];
        const folder = resolve(to);
        await makeFolder(folder);
        const files = contents.map(([name]) => join(folder, name));
        for (const [index, [, content]] of contents.entries()) await writeNewFile(files[index] ?? '', content, 'to');
        print.result({ files }, () => files.join('\n'));
      }),
    );
}
