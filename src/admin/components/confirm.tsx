import { Button, Group, Stack, TextInput } from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { Dialog } from './dialog.js';

interface ConfirmFormProps {
  children: ReactNode;
  /** What the button says, such as `Delete 3 backups`. */
  label: string;
  /** It is being done. */
  busy: boolean;
  /** What is shown is not settled yet, so it cannot be confirmed. */
  unsettled?: boolean;
  /** Of the button: red for what cannot be taken back, which is the default. */
  color?: string;
  /** To be typed first; nothing if left out. */
  typed?: string;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before something that cannot be taken back, in a dialog of its own. */
export function Confirm({ title, ...form }: ConfirmFormProps & { title: string }) {
  return (
    <Dialog title={title} busy={form.busy} onClose={form.onClose}>
      <ConfirmForm {...form} />
    </Dialog>
  );
}

/** The question of such a dialog. */
export function ConfirmForm({
  children,
  label,
  busy,
  unsettled = false,
  color = 'red',
  typed,
  onConfirm,
  onClose,
}: ConfirmFormProps) {
  const [text, setText] = useState('');
  const ready = !unsettled && (typed === undefined || text.trim() === typed);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    // React lets the event pass on to the form that this dialog was opened in.
    event.stopPropagation();
    if (ready && !busy) onConfirm();
  };
  return (
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
            autoFocus
            data-autofocus
          />
        )}
        <Group justify="flex-end" gap="xs">
          <Button
            variant="default"
            onClick={onClose}
            disabled={busy}
            autoFocus={typed === undefined}
            data-autofocus={typed === undefined || undefined}
          >
            Cancel
          </Button>
          <Button type="submit" color={color} loading={busy} disabled={!ready}>
            {label}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
