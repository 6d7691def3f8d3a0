import { Button, Group, PasswordInput } from '@mantine/core';
import { useState } from 'react';
import type { Problem } from '../api.js';

/** True for a problem that the right identity or passphrase solves. */
export const isOfTheKey = (problem: Problem | null | undefined): boolean =>
  /^ENCRYPTION_KEY_(MISSING|WRONG)$/.test(problem?.code ?? '');

interface IdentityRetryProps {
  busy?: boolean;
  onTry: (identity: string) => void;
}

/** Asks for what opens an encrypted archive, to try again with it. */
export function IdentityRetry({ busy = false, onTry }: IdentityRetryProps) {
  const [identity, setIdentity] = useState('');
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (identity !== '') onTry(identity);
      }}
    >
      <Group gap="xs" align="flex-end">
        <IdentityInput value={identity} onChange={setIdentity} />
        <Button type="submit" variant="default" loading={busy} disabled={identity === ''}>
          Decrypt
        </Button>
      </Group>
    </form>
  );
}

/** The field for it. */
export function IdentityInput({ value, onChange }: { value: string; onChange: (identity: string) => void }) {
  return (
    <PasswordInput
      label="Identity or passphrase"
      description="Opens the archive. Used for this once and never kept."
      value={value}
      onChange={(event) => onChange(event.currentTarget.value)}
      autoComplete="off"
      style={{ flex: 1 }}
    />
  );
}
