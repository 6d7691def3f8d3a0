import { Button, Card, Group, Stack, Table, TagsInput, Text, Title } from '@mantine/core';
import { useState } from 'react';
import { FileReferencesDocument, type FileReferencesQuery } from '../../client/generated/graphql.js';
import { useQuestion } from '../api.js';
import { count } from '../format.js';
import { Row } from './row.js';
import { ProblemAlert } from './state.js';

type Found = FileReferencesQuery['fileReferences'];

/** Rows and files that are shown of each kind. */
const SAMPLES = 10;

/** Rows of a backup whose media files are not in it, and files that no row names. @param identity opens the backup; null: none */
export function FileReferences({ id, identity }: { id: string; identity: string | null }) {
  const [columns, setColumns] = useState<string[]>([]);
  const [found, setFound] = useState<Found | null>(null);
  const looking = useQuestion(FileReferencesDocument);
  const look = async () => {
    setFound(null);
    const wanted = { id, columns: columns.length === 0 ? null : columns, samples: SAMPLES, identity };
    const answer = await looking.run(wanted);
    setFound(answer?.fileReferences ?? null);
  };
  const { problem } = looking;
  return (
    <Card withBorder>
      <Title order={2} size="h4" mb="sm">
        Rows and media files of this backup
      </Title>
      <Stack>
        <Group align="flex-end">
          <TagsInput
            label="Columns that name files"
            description="For example, puja_service.image. If empty, those whose values are mostly paths of media files"
            value={columns}
            onChange={setColumns}
            error={problem?.field === 'columns' ? problem.message : undefined}
            style={{ flex: 1 }}
            miw={220}
          />
          <Button variant="default" loading={looking.busy} onClick={() => void look()}>
            Check files
          </Button>
        </Group>
        {problem && problem.field !== 'columns' && <ProblemAlert problem={problem} />}
        {found && <Columns found={found} />}
      </Stack>
    </Card>
  );
}

function Columns({ found: { columns, unreferenced, unreferencedSamples } }: { found: Found }) {
  return (
    <>
      <Table verticalSpacing={4} className="breakable" aria-label="Columns that name files">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Column</Table.Th>
            <Table.Th ta="right">Rows</Table.Th>
            <Table.Th ta="right">Without file</Table.Th>
            <Table.Th>Such as</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {columns.map(({ table, column, rows, missing, samples }) => (
            <Table.Tr key={`${table}.${column}`}>
              <Table.Td>
                {table}.{column}
              </Table.Td>
              <Table.Td ta="right">{count(rows)}</Table.Td>
              <Table.Td ta="right">{count(missing)}</Table.Td>
              <Table.Td>
                {samples.map(({ key, path }, index) => (
                  <Row key={index} values={{ ...(key as object), [column]: path as unknown }} />
                ))}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Text size="sm" className="breakable">
        Files that no row names: {count(unreferenced)}
        {unreferencedSamples.length > 0 && `, such as ${unreferencedSamples.join(', ')}`}
      </Text>
    </>
  );
}
