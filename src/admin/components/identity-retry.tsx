import { Button, Group, PasswordInput } from '@mantine/core';
import { type CSSProperties, useState } from 'react';
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
        <IdentityInput value={identity} onChange={setIdentity} style={{ flex: 1 }} />
        <Button type="submit" variant="default" loading={busy} disabled={identity === ''}>
          Decrypt
        </Button>
      </Group>
    </form>
  );
}

interface IdentityInputProps {
  value: string;
  onChange: (identity: string) => void;
  description?: string;
  error?: string | undefined;
  style?: CSSProperties;
}

/** The field for it. */
export function IdentityInput({ description = FOR_THE_ARCHIVE, onChange, ...more }: IdentityInputProps) {
  return (
    <PasswordInput
      {...more}
      label="Identity or passphrase"
      description={description}
      onChange={(event) => onChange(event.currentTarget.value)}
      autoComplete="off"
    />
  );
}

const FOR_THE_ARCHIVE = 'Opens the archive. Used for this once and never kept.';
