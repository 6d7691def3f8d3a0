import { Button, Group, Modal, Stack, TextInput } from '@mantine/core';
import { type FormEvent, type ReactNode, useEffect, useState } from 'react';

interface ConfirmProps {
  title: string;
  children: ReactNode;
  /** What the button says, such as `Delete 3 backups`. */
  label: string;
  busy: boolean;
  /** To be typed first; nothing if left out. */
  typed?: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before something that cannot be taken back. */
export function Confirm({ title, children, label, busy, typed, onConfirm, onClose }: ConfirmProps) {
  const [text, setText] = useState('');
  useFocusBack();
  const ready = typed === undefined || text.trim() === typed;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    // React lets the event pass on to the form that this dialog was opened in.
    event.stopPropagation();
    if (ready && !busy) onConfirm();
  };
  return (
    <Modal opened onClose={onClose} title={title} centered closeButtonProps={{ 'aria-label': 'Close' }}>
      <form onSubmit={submit}>
        <Stack>
          <div>{children}</div>
          {typed !== undefined && (
            <TextInput
              label={`Type ${typed} to confirm`}
              value={text}
              onChange={(event) => setText(event.currentTarget.value)}
              autoComplete="off"
              spellCheck={false}
              data-autofocus
            />
          )}
          <Group justify="flex-end" gap="xs">
            <Button variant="default" onClick={onClose} data-autofocus={typed === undefined || undefined}>
              Cancel
            </Button>
            <Button type="submit" color="red" loading={busy} disabled={!ready}>
              {label}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

/** Gives the focus back to what opened the dialog: a button, or the button of the menu that it was chosen from. */
function useFocusBack(): void {
  const [button] = useState(() => {
    const opener = document.activeElement as HTMLElement | null;
    const menu = opener?.closest('[role="menu"]')?.getAttribute('aria-labelledby');
    return menu ? document.getElementById(menu) : opener;
  });
  useEffect(
    () => () => {
      const place = button?.isConnected ? button : document.getElementById('content');
      // After the dialog has let go of it.
      requestAnimationFrame(() => place?.focus());
    },
    [button],
  );
}
