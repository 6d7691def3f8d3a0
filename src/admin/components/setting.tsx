import { NumberInput, type NumberInputProps, TextInput, type TextInputProps } from '@mantine/core';
import { useState } from 'react';
import type { ConfigPartsFragment } from '../../client/generated/graphql.js';
import type { Problem } from '../api.js';
import { capital } from '../format.js';
import { wholeOf } from '../inputs.js';
import { type Field, LABEL, type Settings, type WholeField } from '../settings.js';

/** The form of one config, as its inputs see it. */
export interface Form {
  /** What is saved; null where the config is new. */
  config: ConfigPartsFragment | null;
  settings: Settings;
  /** What differs from what is saved. */
  changed: readonly Field[];
  /** Why it could not be saved. */
  problem: Problem | null;
  set: <Name extends Field>(field: Name, value: Settings[Name]) => void;
}

type TextField = Exclude<
  { [Name in Field]: Settings[Name] extends string ? Name : never }[Field],
  WholeField | 'storageType'
>;

export const idOf = (field: Field) => `setting-${field}`;

/** What every input of a setting has: where it is found, what it is called, and what is wrong with it. */
export function setting({ config, changed, problem }: Form, field: Field) {
  return {
    id: idOf(field),
    label: LABEL[field],
    // Seen only; the bar below says what is changed.
    labelProps: { 'data-changed': (config !== null && changed.includes(field)) || undefined },
    error: problem?.field === field ? errorText(problem) : undefined,
  };
}

/** What is wrong with a field, without the field's name in the API. */
export const plainMessage = ({ message, field }: { message: string; field?: string | null }) =>
  capital(message.startsWith(`${field}: `) ? message.slice(`${field}: `.length) : message);

export const errorText = (problem: Problem) => `${plainMessage(problem)} ${problem.hint}`.trim();

/** A setting that is a text. */
export function TextSetting({
  form,
  field,
  ...props
}: { form: Form; field: TextField } & Omit<TextInputProps, 'form'>) {
  return (
    <TextInput
      {...setting(form, field)}
      value={form.settings[field]}
      onChange={(event) => form.set(field, event.currentTarget.value)}
      autoComplete="off"
      spellCheck={false}
      {...props}
    />
  );
}

/** A setting that is a whole number, or nothing. */
export function WholeSetting({
  form,
  field,
  ...props
}: { form: Form; field: WholeField } & Omit<NumberInputProps, 'form'>) {
  /** As it is being typed, such as `00` on the way from 100 to 200; null once the input is left. */
  const [typed, setTyped] = useState<string | number | null>(null);
  return (
    <NumberInput
      {...setting(form, field)}
      value={typed ?? form.settings[field]}
      onChange={(value) => {
        setTyped(value);
        form.set(field, wholeOf(value));
      }}
      onBlur={() => setTyped(null)}
      allowDecimal={false}
      allowNegative={false}
      clampBehavior="none"
      autoComplete="off"
      {...props}
    />
  );
}
