import { Card, Table, Text, Title } from '@mantine/core';
import { duration, exactTime } from '../format.js';
import { phaseOf } from '../words.js';

interface TimedRun {
  createdAt: string;
  completedAt?: string | null;
  phases: { phase: string; at: string }[];
}

/** The log of a run: its phases, when each began and how long it took. */
export function Timeline({ run }: { run: TimedRun }) {
  const { createdAt, completedAt, phases } = run;
  const entries = [
    { phase: 'Asked for', at: createdAt },
    ...phases.map(({ phase, at }) => ({ phase: phaseOf(phase), at })),
  ];
  const end = (index: number) => entries[index + 1]?.at ?? completedAt ?? null;
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        Log of the run
      </Title>
      <Table verticalSpacing={4}>
        <Table.Tbody>
          {entries.map(({ phase, at }, index) => {
            const until = end(index);
            const last = index === entries.length - 1 && completedAt !== null;
            return (
              <Table.Tr key={`${phase} ${at}`}>
                <Table.Td>
                  <Text size="sm">{phase}</Text>
                  <Text size="xs" c="dimmed">
                    {exactTime(at)}
                  </Text>
                </Table.Td>
                <Table.Td ta="right" className="exact">
                  {last || until === null ? '' : duration((Date.parse(until) - Date.parse(at)) / 1000)}
                </Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Card>
  );
}
