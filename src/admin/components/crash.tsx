import { Alert, Button, Stack, Text } from '@mantine/core';
import { Component, type ReactNode } from 'react';

interface CrashProps {
  /** Another place gets another try. */
  place: string;
  children: ReactNode;
}

/** Shows what went wrong in the page itself, in place of a blank screen. React wants a class for this. */
export class Crash extends Component<CrashProps, { error: Error | null; place: string }> {
  override state = { error: null as Error | null, place: this.props.place };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  static getDerivedStateFromProps({ place }: CrashProps, state: { place: string }) {
    return place === state.place ? null : { error: null, place };
  }

  override render() {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return (
      <Alert color="red" variant="light" title="This page broke" role="alert">
        <Stack gap="xs" align="flex-start">
          <Text size="sm">
            The fault is in the page, not in your data: nothing was changed by it. Load it again; if that does not help,
            the command <code>npx db-manager</code> does the same work.
          </Text>
          <Text size="xs" c="dimmed" className="breakable">
            {error.message}
          </Text>
          <Button size="xs" variant="light" color="red" onClick={() => window.location.reload()}>
            Load again
          </Button>
        </Stack>
      </Alert>
    );
  }
}
