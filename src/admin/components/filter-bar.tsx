import { CloseButton, Group, Select, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { IconSearch } from '@tabler/icons-react';
import { useState } from 'react';
import { useSearchParams } from 'wouter';
import { ConfigNamesDocument } from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { isDay, LAST_DAY } from '../inputs.js';

/** What the filters of a page are, kept in its address: so a link shows the same, and Back goes back. */
export interface Filters {
  get: (name: string) => string | null;
  all: (name: string) => string[];
  set: (values: Record<string, string | string[] | null>) => void;
  /** The whole of it, for what depends on any. */
  text: string;
  /** Whether there is any but the order. */
  any: boolean;
}

export function useFilters(): Filters {
  const [parameters, setParameters] = useSearchParams();
  return {
    get: (name) => parameters.get(name),
    all: (name) => parameters.getAll(name),
    set: (values) =>
      setParameters(
        (present) => {
          const next = new URLSearchParams(present);
          for (const [name, value] of Object.entries(values)) {
            next.delete(name);
            for (const one of [value ?? []].flat()) if (one !== '') next.append(name, one);
          }
          return next;
        },
        { replace: true },
      ),
    text: parameters.toString(),
    any: [...parameters.keys()].some((name) => name !== 'order'),
  };
}

/** How long after the last key the list follows, in milliseconds. */
const QUIET = 250;

/** Text that the list is searched for. */
export function SearchFilter({ filters, label }: { filters: Filters; label: string }) {
  // As it is being typed, with its blanks; null once the input is left.
  const [typed, setTyped] = useState<string | null>(null);
  const text = typed ?? filters.get('search') ?? '';
  const apply = useDebouncedCallback((value: string) => filters.set({ search: value.trim() }), QUIET);
  const change = (value: string) => {
    setTyped(value);
    apply(value);
  };
  const leave = () => {
    apply.flush();
    setTyped(null);
  };
  const clear = () => {
    apply.cancel();
    setTyped(null);
    filters.set({ search: null });
  };
  return (
    <TextInput
      aria-label={label}
      placeholder={label}
      leftSection={<IconSearch size={16} />}
      rightSection={text !== '' && <CloseButton size="sm" aria-label="Clear the search" onClick={clear} />}
      flex="1 1 210px"
      maw={320}
      value={text}
      onChange={(event) => change(event.currentTarget.value)}
      onBlur={leave}
    />
  );
}

/** One of several values; nothing chosen restricts nothing. */
export function ChoiceFilter({
  filters,
  name,
  label,
  data,
}: {
  filters: Filters;
  name: string;
  label: string;
  data: { value: string; label: string }[];
}) {
  return (
    <Select
      aria-label={label}
      placeholder={label}
      data={data}
      value={filters.get(name)}
      onChange={(value) => filters.set({ [name]: value })}
      clearable
      clearButtonProps={{ 'aria-label': `Any ${label.toLowerCase()}` }}
      searchable={data.length > 8}
      limit={100}
      flex="1 1 150px"
      maw={200}
    />
  );
}

/** Of one config. */
export function ConfigFilter({ filters }: { filters: Filters }) {
  const { data } = useApi(ConfigNamesDocument, {});
  const configs = data?.configs ?? [];
  if (configs.length < 2 && filters.get('config') === null) return null;
  return (
    <ChoiceFilter
      filters={filters}
      name="config"
      label="Config"
      data={configs.map(({ id, name }) => ({ value: id, label: name }))}
    />
  );
}

/** Days from and to, both included; in this device's time zone. */
export function DateFilter({ filters }: { filters: Filters }) {
  const input = (name: string, label: string) => (
    <TextInput
      type="date"
      aria-label={label}
      title={label}
      max={LAST_DAY}
      value={filters.get(name) ?? ''}
      onChange={(event) => filters.set({ [name]: event.currentTarget.value, day: null })}
    />
  );
  return (
    <Group gap={6}>
      {input('from', 'From this day')}
      <span aria-hidden>–</span>
      {input('to', 'Until this day')}
    </Group>
  );
}

/** The moments between which the days of the address lie; `day` stands for one whole day. */
export function range(filters: Filters): { createdAfter?: string; createdBefore?: string } {
  const one = filters.get('day');
  const from = one ?? filters.get('from');
  const to = one ?? filters.get('to');
  return {
    ...(isDay(from) ? { createdAfter: new Date(`${from}T00:00:00`).toISOString() } : {}),
    ...(isDay(to) ? { createdBefore: dayAfter(to) } : {}),
  };
}

function dayAfter(text: string): string {
  const date = new Date(`${text}T00:00:00`);
  date.setDate(date.getDate() + 1);
  return date.toISOString();
}
