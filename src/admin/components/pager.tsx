import { Button, Group, Text } from '@mantine/core';
import { useState } from 'react';
import { count, plural } from '../format.js';

/** Where one is in a list that is read by pages: the cursors of the pages before, the present one last. */
export interface Paging {
  after: string | null;
  page: number;
  next: (cursor: string) => void;
  previous: () => void;
}

/** Pages of one list; another `list` (its filter and order, as a text) begins again at the first page. */
export function usePaging(list: string): Paging {
  const [{ of, trail }, setState] = useState<{ of: string; trail: string[] }>({ of: list, trail: [] });
  if (of !== list) setState({ of: list, trail: [] });
  const present = of === list ? trail : [];
  return {
    after: present.at(-1) ?? null,
    page: present.length,
    next: (cursor) => setState({ of: list, trail: [...present, cursor] }),
    previous: () => setState({ of: list, trail: present.slice(0, -1) }),
  };
}

interface PagerProps {
  paging: Paging;
  /** The page that is shown is the one that was asked for: only then does it lead to the next one. */
  current: boolean;
  pageSize: number;
  shown: number;
  total: number;
  noun: string;
  pageInfo: { hasNextPage: boolean; endCursor?: string | null };
}

/** Which part of the list is seen, and the way to the others. */
export function Pager({ paging, current, pageSize, shown, total, noun, pageInfo }: PagerProps) {
  const first = paging.page * pageSize + 1;
  const range = shown === 0 || !current ? '' : `${count(first)}–${count(first + shown - 1)} of `;
  return (
    <Group justify="space-between" mt="sm" component="nav" aria-label={`Pages of ${noun}s`}>
      <Text size="sm" c="dimmed" role="status">
        {range}
        {plural(total, noun)}
      </Text>
      <Group gap="xs">
        <Button variant="default" size="xs" disabled={paging.page === 0} onClick={paging.previous}>
          Previous
        </Button>
        <Button
          variant="default"
          size="xs"
          disabled={!current || !pageInfo.hasNextPage}
          onClick={() => pageInfo.endCursor && paging.next(pageInfo.endCursor)}
        >
          Next
        </Button>
      </Group>
    </Group>
  );
}
