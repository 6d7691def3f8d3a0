import { Code, Text } from '@mantine/core';

/** A value as people read it: what is missing says so. */
export const cellText = (value: unknown): string =>
  value === null || value === undefined ? 'NULL' : typeof value === 'string' ? value : JSON.stringify(value);

/** Columns of a row with their values. @param values an object, as the API gives it */
export function Row({ values }: { values: unknown }) {
  const pairs = Object.entries((values ?? {}) as Record<string, unknown>);
  if (pairs.length === 0) return <Text size="sm">–</Text>;
  return (
    <>
      {pairs.map(([name, value]) => (
        <Text size="sm" key={name}>
          {name}: <Code>{cellText(value)}</Code>
        </Text>
      ))}
    </>
  );
}
