import { Group, NativeSelect, TextInput } from '@mantine/core';
import { useState } from 'react';
import { exactSize } from '../format.js';
import { amountOf, bytesOf, hasUnit, sizeProblem, type Unit, UNIT, unitOf } from '../inputs.js';
import { type Form, setting } from './setting.js';

/** The space to use at most, in MiB, GiB or TiB; nothing is no limit, and what means no size is kept to be mended. */
export function SizeInput({ form }: { form: Form }) {
  const size = form.settings.maxTotalSize;
  const [chosen, setChosen] = useState<Unit | null>(null);
  /** As it is being typed, such as `1.`; null once the input is left. */
  const [typed, setTyped] = useState<string | null>(null);
  const unit = chosen ?? unitOf(size);
  const { error, ...rest } = setting(form, 'maxTotalSize');
  const type = (text: string) => {
    setTyped(text);
    setChosen(hasUnit(text) ? null : unit);
    form.set('maxTotalSize', bytesOf(text, unit));
  };
  const choose = (next: Unit) => {
    setChosen(next);
    form.set('maxTotalSize', bytesOf(amountOf(size, unit), next));
  };
  return (
    <Group gap="xs" wrap="nowrap" align="flex-end">
      <TextInput
        {...rest}
        error={sizeProblem(size) ?? error}
        description={typeof size === 'number' ? `${exactSize(size)}.` : 'Empty: no limit.'}
        inputMode="decimal"
        value={typed ?? amountOf(size, unit)}
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
