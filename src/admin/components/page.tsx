import { Alert, Anchor, type AnchorProps, Box, Card, Group, Stack, Text, Title } from '@mantine/core';
import { IconChevronLeft, IconPlugConnectedX } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import { useConnection } from '../connection.js';

interface PageHeadProps {
  title: string;
  /** Beside the title, such as a state. */
  badge?: ReactNode;
  /** Below the title, such as a file name. */
  subtitle?: ReactNode;
  /** The list that the page belongs to: the way back. */
  back?: { href: string; label: string };
  children?: ReactNode;
}

/** A page's heading, with what can be done there beside it. Also the title of the browser's tab. */
export function PageHead({ title, badge, subtitle, back, children }: PageHeadProps) {
  return (
    <Box mb="md">
      <title>{`${title} · db-manager`}</title>
      {back && (
        <Anchor component={Link} href={back.href} size="sm" underline="hover">
          <IconChevronLeft size={14} aria-hidden className="inline-icon" /> {back.label}
        </Anchor>
      )}
      <Group justify="space-between" gap="sm">
        <Group gap="sm">
          <Title order={1} size="h2" className="breakable">
            {title}
          </Title>
          {badge}
        </Group>
        {children && <Group gap="xs">{children}</Group>}
      </Group>
      {subtitle && (
        <Text size="sm" c="dimmed" className="breakable">
          {subtitle}
        </Text>
      )}
    </Box>
  );
}

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

/** A link to another page, in the running text. */
export function TextLink({ href, children, ...anchor }: { href: string; children: ReactNode } & AnchorProps) {
  return (
    <Anchor component={Link} href={href} inherit underline="always" className="breakable" {...anchor}>
      {children}
    </Anchor>
  );
}

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
