import { Alert } from '@mantine/core';
import { IconPlugConnectedX } from '@tabler/icons-react';
import { useConnection } from '../connection.js';

/** Says that the server cannot be reached, for as long as that is so. */
export function OfflineBanner() {
  const lost = useConnection() === 'lost';
  return (
    <div role="status" aria-live="polite">
      {lost && (
        <Alert
          color="orange"
          variant="light"
          mb="md"
          icon={<IconPlugConnectedX />}
          title="The server cannot be reached"
        >
          Check that it is running and that this device is online. What you see may be out of date. The page tries again
          automatically.
        </Alert>
      )}
    </div>
  );
}
