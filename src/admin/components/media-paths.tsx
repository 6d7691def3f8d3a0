import { ActionIcon, Button, Group, Input, Stack, TextInput } from '@mantine/core';
import { IconPlus, IconTrash } from '@tabler/icons-react';
import { useRef } from 'react';
import { type Form, idOf, setting } from './setting.js';

/** The folders with media: one row each. */
export function MediaPaths({ form }: { form: Form }) {
  const paths = form.settings.mediaPaths;
  const { label, labelProps, error } = setting(form, 'mediaPaths');
  const rows = useRef<HTMLDivElement>(null);
  const add = useRef<HTMLButtonElement>(null);
  const change = (next: string[]) => form.set('mediaPaths', next);
  const addRow = () => {
    change([...paths, '']);
    requestAnimationFrame(() => [...(rows.current?.querySelectorAll('input') ?? [])].at(-1)?.focus());
  };
  const remove = (index: number) => {
    change(paths.filter((_path, each) => each !== index));
    add.current?.focus();
  };
  return (
    <Input.Wrapper
      label={label}
      labelProps={labelProps}
      labelElement="div"
      description="Folders on this server, such as /srv/okpuja/media. All files in them are backed up with the database."
      error={error}
      role="group"
      aria-label="Media folders"
    >
      <Stack gap="xs" mt={6} align="flex-start" ref={rows}>
        {paths.map((path, index) => (
          <Group key={index} gap="xs" wrap="nowrap" w="100%">
            <TextInput
              id={index === 0 ? idOf('mediaPaths') : undefined}
              aria-label={`Media folder ${index + 1}`}
              value={path}
              onChange={(event) => change(paths.with(index, event.currentTarget.value))}
              flex={1}
              autoComplete="off"
              spellCheck={false}
            />
            <ActionIcon
              variant="default"
              size="input-sm"
              aria-label={`Remove media folder ${index + 1}`}
              onClick={() => remove(index)}
            >
              <IconTrash size={18} />
            </ActionIcon>
          </Group>
        ))}
        <Button ref={add} variant="default" size="xs" leftSection={<IconPlus size={16} />} onClick={addRow}>
          Add folder
        </Button>
      </Stack>
    </Input.Wrapper>
  );
}
