import { Anchor, Button, Code, Group, Spoiler, Stack, Table, Text } from '@mantine/core';
import {
  CancelVerificationDocument,
  type VerificationPartsFragment,
  VerificationsDocument,
} from '../../client/generated/graphql.js';
import { tellProblem, useAction, useApi } from '../api.js';
import { plural, size } from '../format.js';
import { downloadReport } from '../kit.js';
import { isActive, LEVEL_NAME } from '../words.js';
import { Age } from './exact.js';
import { VerificationProgress } from './run-progress.js';
import { StatusBadge } from './status-badge.js';

/** How often the list is asked for again, in milliseconds. */
const EVERY = 10_000;
/** How many are shown. */
const SHOWN = 5;

/** The verifications of one backup: those under way, and the newest that ended. */
export function Verifications({ backupId, onEnd }: { backupId: string; onEnd: () => void }) {
  const answer = useApi(VerificationsDocument, { backupId, first: SHOWN }, { every: EVERY });
  const page = answer.data?.verifications;
  if (page === undefined || page.nodes.length === 0) return null;
  const ended = () => {
    answer.refresh();
    onEnd();
  };
  const past = page.nodes.filter(({ status }) => !isActive(status));
  return (
    <Stack gap="xs" w="100%">
      {page.nodes
        .filter(({ status }) => isActive(status))
        .map((run) => (
          <UnderWay key={run.id} run={run} onEnd={ended} />
        ))}
      {past.length > 0 && (
        <Table verticalSpacing={4} className="breakable" aria-label="Verifications">
          <Table.Tbody>
            {past.map((run) => (
              <Past key={run.id} run={run} />
            ))}
          </Table.Tbody>
        </Table>
      )}
      {page.totalCount > page.nodes.length && (
        <Text size="xs" c="dimmed">
          The newest of {plural(page.totalCount, 'verification')}.
        </Text>
      )}
    </Stack>
  );
}

function UnderWay({ run, onEnd }: { run: VerificationPartsFragment; onEnd: () => void }) {
  const cancel = useAction(CancelVerificationDocument);
  const stop = async () => {
    await cancel.run({ id: run.id });
    onEnd();
  };
  return (
    <Stack gap={4}>
      <VerificationProgress run={run} onEnd={onEnd} />
      <Group>
        <Button size="xs" variant="default" loading={cancel.busy} onClick={() => void stop()}>
          Cancel verification
        </Button>
      </Group>
    </Stack>
  );
}

/** How one ended, and what it found. */
function Past({ run }: { run: VerificationPartsFragment }) {
  const { level, status, completedAt, createdAt, createdBy, destination, errorMessage, errorHint, warnings } = run;
  const { drill, restoreSeconds, reportUrl } = run;
  return (
    <Table.Tr>
      <Table.Td>
        <StatusBadge status={status} />
      </Table.Td>
      <Table.Td>
        <Text size="sm">
          {LEVEL_NAME[level]}, <Age at={completedAt ?? createdAt} />
        </Text>
        <Text size="xs" c="dimmed">
          {createdBy === 'system' ? 'By the schedule' : (createdBy ?? '–')}
          {destination ? ` in ${destination.name}` : ''}
        </Text>
        {drill && restoreSeconds && (
          <Text size="xs" c="dimmed">
            Restored {size(drill.bytes)} with {plural(drill.mediaFiles, 'media file')} in {restoreSeconds.toFixed(1)} s
          </Text>
        )}
        {errorMessage && (
          <Text size="xs" c="red">
            {errorMessage} {errorHint}
          </Text>
        )}
        {drill?.command && drill.command.output !== '' && (
          <Spoiler maxHeight={0} showLabel="Output of the command" hideLabel="Hide the output" fz="xs">
            <Code block>{drill.command.output}</Code>
          </Spoiler>
        )}
        {reportUrl && <Report id={run.id} url={reportUrl} />}
        {warnings.map((warning) => (
          <Text key={warning} size="xs" c="orange">
            {warning}
          </Text>
        ))}
      </Table.Td>
    </Table.Tr>
  );
}

/** The report needs the token of the one who asks, which a link could not bring along. */
function Report({ id, url }: { id: string; url: string }) {
  const download = async () => {
    const problem = await downloadReport(id, url);
    if (problem !== null) tellProblem(problem);
  };
  return (
    <Anchor component="button" type="button" size="xs" onClick={() => void download()}>
      Report to print
    </Anchor>
  );
}
