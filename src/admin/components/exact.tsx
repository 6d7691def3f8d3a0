import { Text, type TextProps, Tooltip } from '@mantine/core';
import { useLayoutEffect } from 'react';
import { age, exactSize, exactTime, size } from '../format.js';
import { createStore, useStore } from '../store.js';

/** Ages are written anew so often, in milliseconds. */
const TICK = 15_000;

/** A clock that is that much late is still good enough, in milliseconds. */
const SOON = 1_000;

const now = createStore(Date.now());
const tick = () => now.set(Date.now());
setInterval(tick, TICK);

/** How long ago, or until, a moment; the exact time on hover and focus. */
export function Age({ at, ...text }: { at: string } & TextProps) {
  const present = useStore(now);
  // What came since the last tick would seem to lie ahead.
  useLayoutEffect(() => {
    if (Date.parse(at) > now.get() && Date.now() - now.get() > SOON) tick();
  }, [at]);
  return (
    <Tooltip label={exactTime(at)} events={{ hover: true, focus: true, touch: true }}>
      <Text span inherit {...text} tabIndex={0} className="exact">
        <time dateTime={at}>{age(at, present)}</time>
      </Text>
    </Tooltip>
  );
}

/** A size for people; the exact bytes on hover and focus. A dash where it is not known. */
export function Size({ bytes, ...text }: { bytes: number | null | undefined } & TextProps) {
  if (bytes === null || bytes === undefined)
    return (
      <Text span inherit c="dimmed" aria-label="no size">
        –
      </Text>
    );
  return (
    <Tooltip label={exactSize(bytes)} events={{ hover: true, focus: true, touch: true }}>
      <Text span inherit {...text} tabIndex={0} className="exact">
        {size(bytes)}
      </Text>
    </Tooltip>
  );
}
