import { Card, Stack, Title } from '@mantine/core';
import type { ReactNode } from 'react';

/** A step of a page that leads through several. */
export function Step({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Card withBorder component="section" aria-label={title}>
      <Title order={2} size="h4" mb="sm">
        {title}
      </Title>
      <Stack>{children}</Stack>
    </Card>
  );
}
