import { Button } from '@mantine/core';
import { Link } from 'wouter';
import { Empty, PageHead } from '../components/state.js';

export function NotFound() {
  return (
    <>
      <PageHead title="There is no such page" />
      <Empty
        title="Nothing lies at this address."
        action={
          <Button component={Link} href="/">
            To the overview
          </Button>
        }
      />
    </>
  );
}
