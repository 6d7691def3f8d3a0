import { Alert, Anchor, Breadcrumbs, Button, Group, NavLink, Stack, Text, TextInput } from '@mantine/core';
import { IconArrowUp, IconDatabase, IconFile, IconFileOff, IconFileZip, IconFolder } from '@tabler/icons-react';
import { type FormEvent, type ReactNode, useEffect, useState } from 'react';
import { BrowseFolderDocument, type BrowseFolderQuery, type FolderEntryKind } from '../../client/generated/graphql.js';
import { useApi } from '../api.js';
import { count, size } from '../format.js';
import { usePaging } from './pager.js';
import { Loading, ProblemAlert } from './state.js';

export type Listing = BrowseFolderQuery['browseFolder'];
type Entry = Listing['entries'][number];

type Chosen = 'database' | 'archive' | 'folder';

const isZip = (name: string) => /\.zip(\.age)?$/i.test(name);

/** How many entries are shown at once. */
const PAGE = 200;

const ICON: Record<FolderEntryKind, typeof IconFolder> = {
  FOLDER: IconFolder,
  SQLITE: IconDatabase,
  FILE: IconFile,
  UNREADABLE: IconFileOff,
};

interface FolderBrowserProps {
  /** Where to begin; the server decides if left out. */
  start?: string | null;
  /** What is chosen: a SQLite database, a ZIP file, or the folder that is shown. */
  choose: Chosen;
  chosen?: string | null;
  /** @param listing the folder that it was chosen in; left out where its whole path was typed */
  onChoose: (path: string, listing?: Listing) => void;
  /** Called with each folder that is shown. */
  onShow?: (listing: Listing) => void;
  /** Above the list. */
  children?: ReactNode;
}

/** The folders of the server, to choose a database, an archive or a folder in. */
export function FolderBrowser({ start = null, choose, chosen = null, onChoose, onShow, children }: FolderBrowserProps) {
  const [path, setPath] = useState<string | null>(start);
  const paging = usePaging(path ?? '');
  const { data, problem, loading, current, refresh } = useApi(BrowseFolderDocument, {
    path,
    first: PAGE,
    after: paging.after,
  });
  const listing = data?.browseFolder;
  useEffect(() => {
    if (listing !== undefined) onShow?.(listing);
  }, [listing, onShow]);
  const go = (typed: string | null) =>
    choose === 'archive' && typed !== null && isZip(typed) ? onChoose(typed) : setPath(typed);
  return (
    <Stack gap="xs" role="group" aria-label="Folders on this server">
      <PathInput
        key={listing?.path ?? ''}
        label={choose === 'archive' ? 'Folder or ZIP file' : 'Folder'}
        path={listing?.path ?? path ?? ''}
        onGo={go}
      />
      {problem && (
        <ProblemAlert problem={problem} retry={refresh}>
          {path !== null && (
            <Button size="xs" variant="default" onClick={() => setPath(null)}>
              Start over
            </Button>
          )}
        </ProblemAlert>
      )}
      {loading && <Loading height={220} />}
      {listing && !problem && (
        <>
          <Crumbs listing={listing} onGo={setPath} />
          {children}
          <div className="folder-list follows" aria-busy={!current}>
            {listing.parent !== null && listing.parent !== undefined && (
              <NavLink
                component="button"
                type="button"
                label="Parent folder"
                leftSection={<IconArrowUp size={18} aria-hidden />}
                onClick={() => setPath(listing.parent ?? null)}
              />
            )}
            {listing.entries.map((entry) => (
              <EntryRow
                key={entry.path}
                entry={entry}
                choose={choose}
                chosen={entry.path === chosen}
                onOpen={() => setPath(entry.path)}
                onChoose={() => onChoose(entry.path, listing)}
              />
            ))}
            {listing.entries.length === 0 && (
              <Text size="sm" c="dimmed" p="sm">
                This folder is empty.
              </Text>
            )}
          </div>
          <More listing={listing} paging={paging} current={current} />
          {choose === 'folder' && listing.path !== null && listing.path !== undefined && (
            <Group>
              <Button onClick={() => listing.path && onChoose(listing.path, listing)}>Use this folder</Button>
            </Group>
          )}
        </>
      )}
    </Stack>
  );
}

/** For those who know the path already. */
function PathInput({ label, path, onGo }: { label: string; path: string; onGo: (path: string | null) => void }) {
  const [typed, setTyped] = useState(path);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    event.stopPropagation();
    onGo(typed.trim() === '' ? null : typed.trim());
  };
  return (
    <form onSubmit={submit}>
      <Group gap="xs" align="flex-end" wrap="nowrap">
        <TextInput
          label={label}
          value={typed}
          onChange={(event) => setTyped(event.currentTarget.value)}
          flex={1}
          autoComplete="off"
          spellCheck={false}
        />
        <Button type="submit" variant="default">
          Go
        </Button>
      </Group>
    </form>
  );
}

/** Each folder above, as far as it may be listed. */
function Crumbs({ listing: { path, parent }, onGo }: { listing: Listing; onGo: (path: string) => void }) {
  if (path === null || path === undefined || parent === null || parent === undefined) return null;
  const parts = path.split('/').filter((part) => part !== '');
  return (
    <Breadcrumbs separatorMargin={4} className="wrapping-crumbs">
      {parts.map((part, index) => {
        const here = `/${parts.slice(0, index + 1).join('/')}`;
        return index === parts.length - 1 ? (
          <Text key={here} size="sm">
            {part}
          </Text>
        ) : (
          <Anchor key={here} component="button" type="button" size="sm" underline="hover" onClick={() => onGo(here)}>
            {part}
          </Anchor>
        );
      })}
    </Breadcrumbs>
  );
}

interface EntryRowProps {
  entry: Entry;
  choose: Chosen;
  chosen: boolean;
  onOpen: () => void;
  onChoose: () => void;
}

function EntryRow({ entry: { name, kind, size: bytes }, choose, chosen, onOpen, onChoose }: EntryRowProps) {
  const archive = choose === 'archive' && kind === 'FILE' && isZip(name);
  const Icon = archive ? IconFileZip : ICON[kind];
  const useful = kind === 'FOLDER' || (kind === 'SQLITE' && choose === 'database') || archive;
  const about =
    kind === 'SQLITE' || archive
      ? `${archive ? 'ZIP file' : 'SQLite database'} · ${size(bytes ?? 0)}`
      : kind === 'UNREADABLE'
        ? 'No permission to read this file'
        : undefined;
  // What cannot be chosen is shown, so that people see where they are; it is no button.
  if (!useful)
    return (
      <Group gap="sm" px="sm" py={8} wrap="nowrap" c="dimmed">
        <Icon size={18} aria-hidden style={{ flexShrink: 0 }} />
        <Text size="sm" className="breakable">
          {name}
          {about !== undefined && ` · ${about}`}
        </Text>
      </Group>
    );
  return (
    <NavLink
      component="button"
      type="button"
      label={name}
      description={about}
      leftSection={<Icon size={18} aria-hidden />}
      active={chosen}
      aria-pressed={kind === 'FOLDER' ? undefined : chosen}
      onClick={kind === 'FOLDER' ? onOpen : onChoose}
      className="breakable"
    />
  );
}

function More({
  listing: { entries, totalCount, truncated, pageInfo },
  paging,
  current,
}: {
  listing: Listing;
  paging: ReturnType<typeof usePaging>;
  current: boolean;
}) {
  if (paging.page === 0 && !pageInfo.hasNextPage && !truncated) return null;
  return (
    <Stack gap="xs">
      <Group gap="xs" justify="space-between">
        <Text size="sm" c="dimmed" role="status">
          {count(paging.page * PAGE + 1)}–{count(paging.page * PAGE + entries.length)} of {count(totalCount)}
        </Text>
        <Group gap="xs">
          <Button size="xs" variant="default" disabled={paging.page === 0} onClick={paging.previous}>
            Previous
          </Button>
          <Button
            size="xs"
            variant="default"
            disabled={!current || !pageInfo.hasNextPage}
            onClick={() => pageInfo.endCursor && paging.next(pageInfo.endCursor)}
          >
            Next
          </Button>
        </Group>
      </Group>
      {truncated && (
        <Alert color="yellow" variant="light">
          This folder has too many entries to list. Type the path of a folder inside it.
        </Alert>
      )}
    </Stack>
  );
}
