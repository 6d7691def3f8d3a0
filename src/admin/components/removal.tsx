import { Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { type Action, tellDone } from '../api.js';
import { Confirm } from './confirm.js';

interface RemovalProps<Result> {
  /** What goes, such as `key`, and how that is called: `Remove` if left out. */
  noun: string;
  verb?: 'Remove' | 'Revoke';
  item: { id: string; name: string };
  action: Action<Result, { id: string }>;
  onChanged: () => void;
  onClose: () => void;
  /** What follows from it. */
  children: ReactNode;
}

/** Asks before an item of a list goes, and says when it has. */
export function Removal<Result>({
  noun,
  verb = 'Remove',
  item: { id, name },
  action,
  onChanged,
  onClose,
  children,
}: RemovalProps<Result>) {
  const confirm = async () => {
    const done = await action.run({ id });
    onClose();
    if (done === null) return;
    tellDone(`${name} was ${verb === 'Remove' ? 'removed' : 'revoked'}.`);
    onChanged();
  };
  return (
    <Confirm
      title={`${verb} this ${noun}?`}
      label={`${verb} ${noun}`}
      busy={action.busy}
      onConfirm={() => void confirm()}
      onClose={onClose}
    >
      <Text size="sm" className="breakable">
        {children}
      </Text>
    </Confirm>
  );
}
