import { Alert, Button, Stack, Text } from '@mantine/core';
import { Component, type ReactNode } from 'react';
import { PageGone } from '../connection.js';

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
    if (error instanceof PageGone) return <Updated />;
    return (
      <Alert color="red" variant="light" title="This page stopped working" role="alert">
        <Stack gap="xs" align="flex-start">
          <Text size="sm">
            The error is in the page; your data is not affected. Reload the page. If that does not help, use the command{' '}
            <code>npx db-manager</code> instead.
          </Text>
          <Text size="xs" c="dimmed" className="breakable">
            {error.message}
          </Text>
          <LoadAgain />
        </Stack>
      </Alert>
    );
  }
}

/** After an update the server has other files than the ones that this tab knows of. */
function Updated() {
  return (
    <Alert color="yellow" variant="light" title="db-manager was updated" role="alert">
      <Stack gap="xs" align="flex-start">
        <Text size="sm">This page is from the previous version. Reload it to continue.</Text>
        <LoadAgain />
      </Stack>
    </Alert>
  );
}

function LoadAgain() {
  return (
    <Button size="xs" variant="light" color="red" onClick={() => window.location.reload()}>
      Reload
    </Button>
  );
}
