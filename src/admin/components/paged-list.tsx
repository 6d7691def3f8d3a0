import { Button, Card } from '@mantine/core';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import type { Answer } from '../api.js';
import { Pager, type Paging } from './pager.js';
import { Empty, Loading, Trouble } from './state.js';

/** How many rows a page has. */
export const PAGE = 25;
/** How often a list is asked for again, in milliseconds. */
export const EVERY = 10_000;

interface PagedListProps<Row> {
  answer: Answer<unknown>;
  page: { nodes: Row[]; totalCount: number; pageInfo: { hasNextPage: boolean; endCursor?: string | null } } | undefined;
  paging: Paging;
  /** What a row is, such as `backup`. */
  noun: string;
  /** The address of the list without filters. */
  all: string;
  filtered: boolean;
  /** What is said where there is none at all. */
  none: ReactNode;
  /** What is added where none meets the filter. */
  advice?: ReactNode;
  /** Above the rows. */
  head?: ReactNode;
  children: (rows: Row[]) => ReactNode;
}

/** A page of a list in each of its states: coming, failed, empty, nothing found, or its rows with the way to the others. */
export function PagedList<Row>({
  answer,
  page,
  paging,
  noun,
  all,
  filtered,
  none,
  advice,
  head,
  children,
}: PagedListProps<Row>) {
  const nothingFound = (
    <Empty
      title={`No ${noun}s match the filter`}
      action={
        <Button component={Link} href={all} variant="light">
          Show all
        </Button>
      }
    >
      {advice}
    </Empty>
  );
  return (
    <>
      <Trouble answer={answer} />
      {answer.loading && <Loading />}
      {page && (
        <>
          <Card withBorder p={0}>
            {head}
            <div className="follows" aria-busy={!answer.current}>
              {page.nodes.length > 0 ? children(page.nodes) : filtered ? nothingFound : none}
            </div>
          </Card>
          <Pager
            paging={paging}
            current={answer.current}
            pageSize={PAGE}
            shown={page.nodes.length}
            total={page.totalCount}
            noun={noun}
            pageInfo={page.pageInfo}
          />
        </>
      )}
    </>
  );
}
