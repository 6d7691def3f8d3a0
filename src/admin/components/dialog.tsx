import { Modal } from '@mantine/core';
import { type ReactNode, useEffect, useState } from 'react';

interface DialogProps {
  title: string;
  /** What was asked for is being done: it cannot be closed as if nothing happened. */
  busy?: boolean;
  onClose: () => void;
  children: ReactNode;
}

/** A dialog that is there as long as it is drawn; then the focus goes back to where it came from. */
export function Dialog({ title, busy = false, onClose, children }: DialogProps) {
  useFocusBack();
  return (
    <Modal
      opened
      onClose={() => !busy && onClose()}
      title={title}
      centered
      closeButtonProps={{ 'aria-label': 'Close', disabled: busy }}
    >
      {children}
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
      // After the dialog has let go of it; another dialog that has come since keeps it.
      requestAnimationFrame(() => document.querySelector('[role="dialog"]') === null && place?.focus());
    },
    [button],
  );
}
