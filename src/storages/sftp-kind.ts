import type { RemoteKind } from './remote-kind.js';
import { sftpPlace, sftpSettings } from './sftp-settings.js';

export const sftpKind: RemoteKind = {
  secrets: ['password', 'privateKey', 'passphrase'],
  reach: ['host', 'port', 'hostKey'],
  pinned: 'hostKey',
  place: (values) => sftpPlace(sftpSettings(values)),
  async connect(values) {
    const { SftpStorage } = await import('./sftp.js');
    return new SftpStorage(sftpSettings(values));
  },
};
