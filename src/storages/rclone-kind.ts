import type { RemoteKind } from './remote-kind.js';
import { rclonePlace, rcloneSettings } from './rclone-settings.js';

export const rcloneKind: RemoteKind = {
  // They lie in rclone's own configuration.
  secrets: [],
  reach: [],
  place: (values) => rclonePlace(rcloneSettings(values)),
  async connect(values) {
    const { RcloneStorage } = await import('./rclone.js');
    return new RcloneStorage(rcloneSettings(values));
  },
};
