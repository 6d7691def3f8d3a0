import { Card, Table, Text, Title } from '@mantine/core';
import { duration, exactTime } from '../format.js';
import type { BackupStatus, RestoreStatus } from '../../client/generated/graphql.js';
import { phaseOf } from '../words.js';

interface TimedRun {
  status: BackupStatus | RestoreStatus;
  createdAt: string;
  completedAt?: string | null;
  phases: { phase: string; at: string }[];
}

/** The log of a run: its phases, when each began and how long it took. */
export function Timeline({ run }: { run: TimedRun }) {
  const { status, createdAt, completedAt, phases } = run;
  const entries = [
    { phase: 'Requested', at: createdAt },
    ...phases.map(({ phase, at }) => ({ phase: phaseOf(phase), at })),
    ...(status === 'FAILED' && completedAt ? [{ phase: 'Failed', at: completedAt }] : []),
  ];
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        Run log
      </Title>
      <Table verticalSpacing={4}>
        <Table.Tbody>
          {entries.map(({ phase, at }, index) => {
            const next = entries[index + 1];
            return (
              <Table.Tr key={`${phase} ${at}`}>
                <Table.Td>
                  <Text size="sm">{phase}</Text>
                  <Text size="xs" c="dimmed">
                    {exactTime(at)}
                  </Text>
                </Table.Td>
                <Table.Td ta="right" className="exact">
                  {next && duration((Date.parse(next.at) - Date.parse(at)) / 1000)}
                </Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Card>
  );
}
