import { Button, Group, Text, VisuallyHidden } from '@mantine/core';
import { IconCircleCheck } from '@tabler/icons-react';
import { LABEL } from '../settings.js';
import type { Form } from './setting.js';
import { ProblemAlert } from './state.js';

interface SaveBarProps {
  form: Form;
  busy: boolean;
  /** It was saved just now. */
  done: boolean;
  onDiscard: () => void;
}

/** Stays in sight while something is not saved, and says what. */
export function SaveBar({ form: { config, changed, problem }, busy, done, onDiscard }: SaveBarProps) {
  const open = config === null || changed.length > 0;
  const title = config === null ? 'New config' : open ? 'Unsaved changes' : 'Saved';
  return (
    <>
      <VisuallyHidden role="status">{open || done ? title : ''}</VisuallyHidden>
      {!open && done && (
        <div className="save-bar">
          <Group gap="xs" mih={42}>
            <IconCircleCheck size={20} color="var(--mantine-color-teal-text)" aria-hidden />
            <Text fw={600}>{title}</Text>
          </Group>
        </div>
      )}
      {open && (
        <div className="save-bar">
          {problem && !isField(problem.field) && <ProblemAlert problem={problem} />}
          <Group justify="space-between" gap="sm">
            <div>
              <Text fw={600}>{title}</Text>
              {config !== null && (
                <Text size="sm" c="dimmed" lineClamp={1}>
                  {changed.map((field) => LABEL[field]).join(', ')}
                </Text>
              )}
              {isField(problem?.field) && (
                <Text size="sm" c="red">
                  {LABEL[problem?.field as keyof typeof LABEL]} is invalid.
                </Text>
              )}
            </div>
            <Group gap="xs">
              {changed.length > 0 && (
                <Button variant="default" disabled={busy} onClick={onDiscard}>
                  Discard
                </Button>
              )}
              <Button type="submit" loading={busy}>
                {config === null ? 'Add config' : 'Save'}
              </Button>
            </Group>
          </Group>
        </div>
      )}
    </>
  );
}

const isField = (field: string | undefined) => field !== undefined && field in LABEL;
