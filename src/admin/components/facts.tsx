import { Card, Table, Title } from '@mantine/core';
import type { ReactNode } from 'react';

/** A part of a page with its heading. */
export function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        {title}
      </Title>
      {children}
    </Card>
  );
}

/** What is known of a thing: each fact with its name. */
export function Facts({ facts }: { facts: Fact[] }) {
  return (
    <Section title="About">
      <FactTable facts={facts} />
    </Section>
  );
}

type Fact = [name: string, value: ReactNode];

/** As `Facts`, without a heading. @param width of the names, in pixels */
export function FactTable({ facts, width = 130 }: { facts: Fact[]; width?: number }) {
  return (
    <Table variant="vertical" className="breakable">
      <Table.Tbody>
        {facts.map(([name, value]) => (
          <Table.Tr key={name}>
            <Table.Th scope="row" w={width}>
              {name}
            </Table.Th>
            <Table.Td>{value}</Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}
