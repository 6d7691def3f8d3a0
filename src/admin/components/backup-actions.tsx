import { ActionIcon, Button, Menu, Text } from '@mantine/core';
import {
  IconArrowBackUp,
  IconArrowsDiff,
  IconDots,
  IconDownload,
  IconEye,
  IconFlask,
  IconFolderSymlink,
  IconKey,
  IconLifebuoy,
  IconPin,
  IconPinnedOff,
  IconPlayerStop,
  IconRestore,
  IconShieldCheck,
  IconTableAlias,
  IconTestPipe,
  IconTrash,
} from '@tabler/icons-react';
import { useState } from 'react';
import { Link } from 'wouter';
import {
  type BackupStatus,
  type BackupType,
  CancelBackupDocument,
  CreateDownloadLinkDocument,
  DeleteBackupDocument,
  KeepBackupDocument,
  PinBackupDocument,
  StartVerificationDocument,
  type VerificationLevel,
} from '../../client/generated/graphql.js';
import { tellDone, useAction } from '../api.js';
import { size } from '../format.js';
import { type Belonging, isActive, isHomeless, isStored } from '../words.js';
import { AssignBackup } from './assign-backup.js';
import { Confirm } from './confirm.js';
import { isAssignable } from './origin.js';
import { RewrapBackup } from './rewrap-backup.js';

/** What the actions need to know of a backup. */
export interface ActedOn extends Belonging {
  id: string;
  fileName: string;
  createdAt: string;
  backupType: BackupType;
  status: BackupStatus;
  pinned: boolean;
  pinnedBy?: string | null;
  deleteAfter?: string | null;
  fileSize?: number | null;
  encrypted: boolean;
  queryable: boolean;
}

/** What is asked in a dialog before it is done. */
type Question = 'delete' | 'cancel' | 'assign' | 'rewrap';

/** Everything that can be done to one backup, in a menu. `inTable` also leads to its page. */
export function BackupActions({ backup, inTable = false }: { backup: ActedOn; inTable?: boolean }) {
  const [asked, setAsked] = useState<Question | null>(null);
  const any = inTable || isStored(backup) || isActive(backup.status);
  return (
    <>
      {any && <ActionMenu backup={backup} inTable={inTable} ask={setAsked} />}
      {asked === 'delete' && <DeleteOne backup={backup} onClose={() => setAsked(null)} />}
      {asked === 'assign' && <AssignBackup backup={backup} onClose={() => setAsked(null)} />}
      {asked === 'rewrap' && <RewrapBackup backup={backup} onClose={() => setAsked(null)} />}
      {asked === 'cancel' && <CancelOne backup={backup} onClose={() => setAsked(null)} />}
    </>
  );
}

interface ActionMenuProps {
  backup: ActedOn;
  inTable: boolean;
  /** Opens the dialog that asks. */
  ask: (what: Question) => void;
}

function ActionMenu({ backup, inTable, ask }: ActionMenuProps) {
  const verify = useVerify(backup);
  const download = useDownload();
  const pin = useAction(PinBackupDocument);
  const keep = useAction(KeepBackupDocument);
  const { id, fileName, status, pinned, pinnedBy } = backup;
  const completed = isStored(backup);
  return (
    <Menu position="bottom-end" withinPortal>
      <Menu.Target>
        {inTable ? (
          <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${fileName}`} loading={verify.busy}>
            <IconDots size={18} />
          </ActionIcon>
        ) : (
          <Button variant="default" leftSection={<IconDots size={18} />} loading={verify.busy}>
            More
          </Button>
        )}
      </Menu.Target>
      <Menu.Dropdown>
        {inTable && (
          <Menu.Item component={Link} href={`/backups/${id}`} leftSection={<IconEye size={16} />}>
            Details
          </Menu.Item>
        )}
        {completed && inTable && (
          <Menu.Item component={Link} href={`/backups/${id}/restore`} leftSection={<IconRestore size={16} />}>
            Restore …
          </Menu.Item>
        )}
        {completed && isHomeless(backup) && (
          <Menu.Item component={Link} href={`/recover/${id}`} leftSection={<IconLifebuoy size={16} />}>
            Recover …
          </Menu.Item>
        )}
        {completed && (
          <>
            {inTable && (
              <Menu.Item leftSection={<IconDownload size={16} />} onClick={() => void download(id)}>
                Download
              </Menu.Item>
            )}
            {backup.queryable && (
              <>
                <Menu.Item component={Link} href={`/backups/${id}/compare`} leftSection={<IconArrowsDiff size={16} />}>
                  Compare …
                </Menu.Item>
                <Menu.Item component={Link} href={`/backups/${id}/query`} leftSection={<IconTableAlias size={16} />}>
                  Query …
                </Menu.Item>
              </>
            )}
            <Menu.Item leftSection={<IconShieldCheck size={16} />} onClick={() => void verify.run('ARCHIVE')}>
              Verify archive
            </Menu.Item>
            <Menu.Item leftSection={<IconFlask size={16} />} onClick={() => void verify.run('CONTENT')}>
              Verify content
            </Menu.Item>
            <Menu.Item leftSection={<IconTestPipe size={16} />} onClick={() => void verify.run('DRILL')}>
              Drill a restore
            </Menu.Item>
            {backup.deleteAfter && (
              <Menu.Item leftSection={<IconArrowBackUp size={16} />} onClick={() => void keep.run({ id })}>
                Keep
              </Menu.Item>
            )}
            {(!pinned || !pinnedBy) && (
              <Menu.Item leftSection={<IconPin size={16} />} onClick={() => void pin.run({ id, pinned: true })}>
                {pinned ? 'Pin permanently' : 'Pin'}
              </Menu.Item>
            )}
            {isAssignable(backup) && (
              <Menu.Item leftSection={<IconFolderSymlink size={16} />} onClick={() => ask('assign')}>
                File under a config …
              </Menu.Item>
            )}
            {backup.encrypted && (
              <Menu.Item leftSection={<IconKey size={16} />} onClick={() => ask('rewrap')}>
                Encrypt for other keys …
              </Menu.Item>
            )}
            {pinned && (
              <Menu.Item leftSection={<IconPinnedOff size={16} />} onClick={() => void pin.run({ id, pinned: false })}>
                Unpin
              </Menu.Item>
            )}
          </>
        )}
        {isActive(status) && (
          <Menu.Item leftSection={<IconPlayerStop size={16} />} onClick={() => ask('cancel')}>
            Cancel …
          </Menu.Item>
        )}
        {completed && (
          <>
            <Menu.Divider />
            <Menu.Item
              color="red"
              leftSection={<IconTrash size={16} />}
              disabled={pinned}
              onClick={() => ask('delete')}
            >
              {pinned ? 'Delete (unpin it first)' : 'Delete …'}
            </Menu.Item>
          </>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}

function DeleteOne({ backup, onClose }: { backup: ActedOn; onClose: () => void }) {
  const remove = useAction(DeleteBackupDocument);
  const confirm = async () => {
    const done = await remove.run({ id: backup.id });
    if (done?.deleteBackup.deleteAfter)
      tellDone(`${backup.fileName} is to be deleted. Keep in its menu takes it back.`);
    else if (done !== null) tellDone(`${backup.fileName} was deleted.`);
    onClose();
  };
  return (
    <Confirm
      title="Delete this backup?"
      label="Delete"
      busy={remove.busy}
      onConfirm={() => void confirm()}
      onClose={onClose}
    >
      <Text size="sm" className="breakable">
        The archive <b>{backup.fileName}</b>
        {backup.fileSize ? ` (${size(backup.fileSize)})` : ''} is deleted permanently. Its record stays in the list,
        marked as deleted.
      </Text>
    </Confirm>
  );
}

function CancelOne({ backup, onClose }: { backup: ActedOn; onClose: () => void }) {
  const cancel = useAction(CancelBackupDocument);
  const confirm = async () => {
    await cancel.run({ id: backup.id });
    onClose();
  };
  return (
    <Confirm
      title="Cancel this backup?"
      label="Cancel backup"
      busy={cancel.busy}
      onConfirm={() => void confirm()}
      onClose={onClose}
    >
      <Text size="sm">What was written so far is deleted. Existing backups are not touched.</Text>
    </Confirm>
  );
}

/** Starts a verification; the page of the backup shows how it goes and what came of it. */
function useVerify({ id, fileName }: ActedOn) {
  const start = useAction(StartVerificationDocument, { harmless: true });
  const run = async (level: VerificationLevel) => {
    if ((await start.run({ backupId: id, level })) !== null) tellDone(`${fileName} is being verified.`);
  };
  return { run, busy: start.busy };
}

/** Lets the browser download an archive: it streams to the disk and the page stays. */
export function useDownload(): (id: string) => Promise<void> {
  const link = useAction(CreateDownloadLinkDocument, { harmless: true });
  return async (id) => {
    const answer = await link.run({ id });
    if (answer === null) return;
    const anchor = document.createElement('a');
    anchor.href = answer.createDownloadLink.url;
    // Marks the page as staying, so that no question about leaving appears.
    anchor.download = '';
    anchor.click();
  };
}
