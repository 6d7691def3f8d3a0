import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { jpeg, png } from './pictures.js';

/** Writes the sample's media below its folder: pictures of the services, and what users have uploaded. */
export async function writeMedia(folder: string): Promise<void> {
  const files: Record<string, Buffer | string> = {
    'uploads/receipts/2025/receipt 000001.txt': 'OKP-000001\nGanesh Puja (गणेश पूजा)\nINR 2100.00 PAID\n',
    'uploads/receipts/2025/receipt 000002.txt': 'OKP-000002\nLakshmi Puja (लक्ष्मी पूजा)\nINR 3100.00 PAID\n',
    'uploads/notes/पूजा सामग्री.txt': 'हल्दी, कुमकुम, अक्षत, पुष्प, धूप, दीप, नैवेद्य\n',
    'uploads/avatars/devotee3.jpg': jpeg(64, 64, (x, y) => (x + y) * 2),
    'uploads/avatars/मौमिता.jpg': jpeg(64, 64, (x, y) => x ^ y),
  };
  for (let service = 1; service <= 8; service++) {
    files[`images/service-${service}.png`] = png(96, 64, (x, y) => [
      (x * 2 + service * 30) & 255,
      (y * 3) & 255,
      255 - ((x + service * 10) & 255),
    ]);
  }
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true, mode: 0o700 });
    await writeFile(join(folder, path), content, { mode: 0o600 });
  }
}
