import { Button } from '@mantine/core';
import { Link } from 'wouter';
import { PageHead } from '../components/page.js';
import { Empty } from '../components/state.js';

/** The page of an address that leads nowhere. */
export function NotFound() {
  return (
    <>
      <PageHead title="Page not found" />
      <Empty
        title="There is no page at this address."
        action={
          <Button component={Link} href="/">
            Go to overview
          </Button>
        }
      >
        The address may be mistyped, or the page has moved.
      </Empty>
    </>
  );
}
