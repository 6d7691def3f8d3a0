import {
  ActionIcon,
  AppShell,
  Burger,
  Button,
  Group,
  Menu,
  NavLink,
  Text,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconApi,
  IconArchive,
  IconBell,
  IconClipboardList,
  IconDashboard,
  IconDatabaseCog,
  IconHistory,
  IconKey,
  IconLogout,
  IconMoon,
  IconServer2,
  IconSun,
  IconUpload,
  IconUserCircle,
  IconUsers,
} from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import { BASE } from '../base.js';
import { signOut } from '../session.js';
import { OfflineBanner } from './page.js';

const PLACES = [
  { href: '/', label: 'Overview', Icon: IconDashboard },
  { href: '/backups', label: 'Backups', Icon: IconArchive },
  { href: '/restores', label: 'Restores', Icon: IconHistory },
  { href: '/configs', label: 'Configs', Icon: IconDatabaseCog },
  { href: '/destinations', label: 'Destinations', Icon: IconServer2 },
  { href: '/keys', label: 'Encryption keys', Icon: IconKey },
  { href: '/notifications', label: 'Notifications', Icon: IconBell },
  { href: '/upload', label: 'Upload', Icon: IconUpload },
  { href: '/activity', label: 'Activity', Icon: IconClipboardList },
];

/** Whether this server has an API explorer, as it says in the document. */
const hasExplorer = document.querySelector<HTMLMetaElement>('meta[name="api-explorer"]')?.content === 'on';

/** The frame of every page: where one is, where one can go, and who one is. */
export function Shell({ email, children }: { email: string; children: ReactNode }) {
  const [opened, { toggle, close }] = useDisclosure();
  const [location] = useLocation();
  const here = (href: string) => (href === '/' ? location === '/' : `${location}/`.startsWith(`${href}/`));
  return (
    <AppShell
      header={{ height: 56 }}
      navbar={{ width: 200, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding="md"
      transitionDuration={0}
    >
      <a className="skip-link" href="#content">
        Skip to content
      </a>
      <AppShell.Header px="md">
        <Group h="100%" justify="space-between" wrap="nowrap">
          <Group wrap="nowrap" gap="sm">
            <Burger
              opened={opened}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label="Menu"
              aria-expanded={opened}
            />
            <UnstyledButton component={Link} href="/" onClick={close}>
              <Group gap={8} wrap="nowrap">
                <img src={`${BASE}/favicon.svg`} width={28} height={28} alt="" />
                <Text fw={700} className="exact">
                  db-manager
                </Text>
              </Group>
            </UnstyledButton>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <ColorScheme />
            <Account email={email} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        {PLACES.map(({ href, label, Icon }) => (
          <NavLink
            key={href}
            component={Link}
            href={href}
            label={label}
            leftSection={<Icon size={20} stroke={1.6} />}
            active={here(href)}
            aria-current={here(href) ? 'page' : undefined}
            onClick={close}
          />
        ))}
      </AppShell.Navbar>
      <AppShell.Main id="content" tabIndex={-1}>
        <OfflineBanner />
        {children}
      </AppShell.Main>
    </AppShell>
  );
}

function ColorScheme() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  return (
    <ActionIcon
      variant="default"
      size="lg"
      aria-label={dark ? 'Light colours' : 'Dark colours'}
      onClick={() => setColorScheme(dark ? 'light' : 'dark')}
    >
      {dark ? <IconSun size={18} /> : <IconMoon size={18} />}
    </ActionIcon>
  );
}

function Account({ email }: { email: string }) {
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button variant="default" size="sm" px="sm" aria-label={`Account of ${email}`}>
          <IconUserCircle size={18} />
          <Text size="sm" truncate maw={160} ml={8} visibleFrom="xs">
            {email}
          </Text>
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label className="breakable">{email}</Menu.Label>
        <Menu.Item leftSection={<IconUsers size={16} />} component={Link} href="/users">
          Users and password
        </Menu.Item>
        {hasExplorer && (
          // In this tab: only here is the session.
          <Menu.Item leftSection={<IconApi size={16} />} component="a" href={`${BASE}/graphql`}>
            API explorer
          </Menu.Item>
        )}
        <Menu.Divider />
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={signOut}>
          Sign out
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
