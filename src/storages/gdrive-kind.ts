import type { RemoteKind } from './remote-kind.js';
import { gdrivePlace, gdriveSettings } from './gdrive-settings.js';

export const gdriveKind: RemoteKind = {
  secrets: ['serviceAccountKey', 'clientSecret', 'refreshToken'],
  reach: ['rootUrl'],
  place(values) {
    gdriveSettings(values);
    return gdrivePlace(values);
  },
  async connect(values) {
    const { GdriveStorage } = await import('./gdrive.js');
    return new GdriveStorage(gdriveSettings(values), gdrivePlace(values));
  },
};
