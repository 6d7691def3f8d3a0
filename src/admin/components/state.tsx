import { Alert, Box, Button, Center, Group, List, Skeleton, Stack, Text } from '@mantine/core';
import { IconAlertCircle } from '@tabler/icons-react';
import type { ReactNode } from 'react';
import { Link } from 'wouter';
import type { Answer, Problem } from '../api.js';
import { useConnection } from '../connection.js';
import { capital } from '../format.js';
import { PageHead } from './page.js';

/** Stands where content is about to come, about as high as it. */
export function Loading({ height = 320 }: { height?: number }) {
  return (
    <Stack gap="sm" role="status" aria-label="Loading">
      <Skeleton height={28} width="40%" />
      <Skeleton height={height} />
    </Stack>
  );
}

interface ProblemAlertProps {
  problem: Problem;
  /** Asks once more. */
  retry?: () => void;
  /** What else can be done about it. */
  children?: ReactNode;
}

/** What is wrong, and what to do next. */
export function ProblemAlert({ problem, retry, children }: ProblemAlertProps) {
  return (
    <Alert color="red" variant="light" icon={<IconAlertCircle />} title={problem.message} role="alert">
      <Stack gap="xs" align="flex-start">
        {problem.hint !== '' && <Text size="sm">{problem.hint}</Text>}
        <Text size="xs" c="dimmed">
          Code {problem.code}
        </Text>
        {retry && (
          <Button size="xs" variant="light" color="red" onClick={retry}>
            Try again
          </Button>
        )}
        {children}
      </Stack>
    </Alert>
  );
}

/** What is the matter with what is shown; that the server cannot be reached says the banner, if that is why. */
export function Trouble({ answer: { data, problem, refresh } }: { answer: Answer<unknown> }) {
  const there = useConnection() === 'there';
  if (problem === null || (problem.code === 'OFFLINE' && data !== undefined && !there)) return null;
  return (
    <Box mb="md">
      <ProblemAlert problem={problem} retry={refresh} />
    </Box>
  );
}

interface AnsweredProps<Result> {
  answer: Answer<Result>;
  /** Of what is coming, in pixels. */
  height?: number;
  children: (data: Result) => ReactNode;
}

/** An answer in each of its states: coming, failed, or there, with what has gone wrong since. */
export function Answered<Result>({ answer, height = 480, children }: AnsweredProps<Result>) {
  return (
    <>
      <Trouble answer={answer} />
      {answer.loading && <Loading height={height} />}
      {answer.data !== undefined && children(answer.data)}
    </>
  );
}

/** There is nothing yet: why, and what to do about it. */
export function Empty({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <Center mih={180} p="md">
      <Stack align="center" gap="xs" maw={480}>
        <Text fw={600}>{title}</Text>
        {children && (
          <Text size="sm" c="dimmed" ta="center">
            {children}
          </Text>
        )}
        {action}
      </Stack>
    </Center>
  );
}

/** Warnings of a run that succeeded; nothing if there are none. */
export function Warnings({ warnings }: { warnings: string[] }) {
  if (warnings.length === 0) return null;
  return (
    <Alert color="yellow" variant="light" title="Notes">
      <List size="sm">
        {warnings.map((warning) => (
          <List.Item key={warning}>{warning}</List.Item>
        ))}
      </List>
    </Alert>
  );
}

/** The page of something that is not there (any more). */
export function Missing({ noun, all }: { noun: string; /** The address of the list. */ all: string }) {
  return (
    <>
      <PageHead title={`${capital(noun)} not found`} />
      <Empty
        title={`There is no ${noun} with this id.`}
        action={
          <Button component={Link} href={all}>
            Show all {noun}s
          </Button>
        }
      >
        The address may be mistyped{noun === 'config' ? ', or the config was deleted' : ''}.
      </Empty>
    </>
  );
}

/** What a user without a config needs to know first. */
export function NoConfig() {
  return (
    <Empty
      title="Nothing is protected yet"
      action={
        <Group gap="xs" justify="center">
          <Button component={Link} href="/protect">
            Protect your application
          </Button>
          <Button component={Link} href="/recover" variant="default">
            Recover from an archive
          </Button>
          <Button component={Link} href="/configs/new" variant="default">
            Add config
          </Button>
        </Group>
      }
    >
      A config describes one application: its database and media folders, the storage, the schedule and the retention.
      If the machine of your application was lost, recover it from a backup archive.
    </Empty>
  );
}
