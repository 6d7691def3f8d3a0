import { zone } from './format.js';

/** Browsers still tell some zones by their old names. */
const RENAMED: Record<string, string> = {
  'America/Godthab': 'America/Nuuk',
  'Asia/Calcutta': 'Asia/Kolkata',
  'Asia/Katmandu': 'Asia/Kathmandu',
  'Asia/Rangoon': 'Asia/Yangon',
  'Asia/Saigon': 'Asia/Ho_Chi_Minh',
  'Europe/Kiev': 'Europe/Kyiv',
};

const present = (name: string) => RENAMED[name] ?? name;

/** This device's. */
export const ownZone = present(zone);

/** All time zones, such as `Asia/Kolkata`. */
export const ZONES = [...new Set(['UTC', ...Intl.supportedValuesOf('timeZone').map(present)])];
