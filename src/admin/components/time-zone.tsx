import { Select } from '@mantine/core';
import { ownZone, ZONES } from '../zones.js';
import { type Form, setting } from './setting.js';

/** On whose clock the schedule runs: any zone, this device's first. */
export function TimeZone({ form }: { form: Form }) {
  const { timezone } = form.settings;
  const first = [...new Set([ownZone, timezone])];
  return (
    <Select
      {...setting(form, 'timezone')}
      data={[
        { group: 'This device and current', items: first },
        { group: 'All', items: ZONES.filter((name) => !first.includes(name)) },
      ]}
      value={timezone}
      onChange={(value) => value !== null && form.set('timezone', value)}
      allowDeselect={false}
      searchable
      nothingFoundMessage="No such time zone"
      maxDropdownHeight={280}
    />
  );
}
