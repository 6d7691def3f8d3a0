import { Group, NativeSelect, TextInput } from '@mantine/core';
import { useState } from 'react';
import { exactSize } from '../format.js';
import type { Whole } from '../settings.js';
import { type Form, setting } from './setting.js';

const UNIT = { MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };
type Unit = keyof typeof UNIT;

/** A size that people write in MiB, GiB or TiB; nothing is no limit. */
export function SizeInput({ form, field }: { form: Form; field: 'maxTotalSize' }) {
  const bytes = form.settings[field];
  const [chosen, setChosen] = useState<Unit | null>(null);
  /** As it is being typed, such as `1.`; null once the input is left. */
  const [typed, setTyped] = useState<string | null>(null);
  const unit = chosen ?? unitOf(bytes);
  const type = (text: string) => {
    setTyped(text);
    setChosen(unit);
    form.set(field, bytesOf(text, unit));
  };
  const choose = (next: Unit) => {
    setChosen(next);
    if (bytes !== '') form.set(field, bytesOf(amountOf(bytes, unit), next));
  };
  return (
    <Group gap="xs" wrap="nowrap" align="flex-end">
      <TextInput
        {...setting(form, field)}
        description={bytes === '' ? 'Empty: no limit.' : `${exactSize(bytes)}.`}
        inputMode="decimal"
        value={typed ?? amountOf(bytes, unit)}
        onChange={(event) => type(event.currentTarget.value)}
        onBlur={() => setTyped(null)}
        autoComplete="off"
        flex={1}
      />
      <NativeSelect
        aria-label="Unit of the space"
        data={Object.keys(UNIT)}
        value={unit}
        onChange={(event) => choose(event.currentTarget.value as Unit)}
        w={84}
      />
    </Group>
  );
}

/** The largest unit that the size fills. */
function unitOf(bytes: Whole): Unit {
  if (bytes === '') return 'GiB';
  return bytes >= UNIT.TiB ? 'TiB' : bytes >= UNIT.GiB ? 'GiB' : 'MiB';
}

const amountOf = (bytes: Whole, unit: Unit) => (bytes === '' ? '' : String(Number((bytes / UNIT[unit]).toFixed(3))));

function bytesOf(text: string, unit: Unit): Whole {
  const amount = Number(text.trim().replace(',', '.'));
  return text.trim() === '' || !(amount > 0) ? '' : Math.round(amount * UNIT[unit]);
}
