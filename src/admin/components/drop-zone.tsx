import { Button, FileButton, Stack, Text } from '@mantine/core';
import { IconFileZip } from '@tabler/icons-react';
import { useEffect, useRef, useState } from 'react';

/** Takes files: by its button, or dropped anywhere on the page. */
export function DropZone({ onFiles }: { onFiles: (files: File[]) => void }) {
  const over = useDrop(onFiles);
  const reset = useRef<() => void>(null);
  const choose = (files: File[]) => {
    if (files.length > 0) onFiles(files);
    reset.current?.();
  };
  return (
    <div className="drop-zone" data-over={over || undefined}>
      <Stack align="center" gap="xs">
        <IconFileZip size={44} stroke={1.2} aria-hidden />
        <Text fw={600} ta="center">
          {over ? 'Drop to upload' : 'Drag archives here'}
        </Text>
        <FileButton onChange={choose} accept=".zip,.age,application/zip" multiple resetRef={reset}>
          {(props) => <Button {...props}>Choose files …</Button>}
        </FileButton>
        <Text size="sm" c="dimmed" ta="center">
          Backup archives (ZIP) of this or another db-manager, or of the older Django system.
        </Text>
      </Stack>
    </div>
  );
}

/** Whether files are being dragged over the page. A drop beside the zone counts, too: else the browser would open the file. */
function useDrop(onFiles: (files: File[]) => void): boolean {
  const [over, setOver] = useState(false);
  const latest = useRef(onFiles);
  useEffect(() => {
    latest.current = onFiles;
  });
  useEffect(() => {
    const drag = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes('Files')) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = ({ relatedTarget }: DragEvent) => relatedTarget === null && setOver(false);
    const drop = (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length > 0) latest.current(files);
    };
    window.addEventListener('dragover', drag);
    window.addEventListener('dragleave', leave);
    window.addEventListener('drop', drop);
    return () => {
      window.removeEventListener('dragover', drag);
      window.removeEventListener('dragleave', leave);
      window.removeEventListener('drop', drop);
    };
  }, []);
  return over;
}
