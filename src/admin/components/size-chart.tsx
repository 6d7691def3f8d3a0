import { Group, Text } from '@mantine/core';
import { day, size } from '../format.js';
import { Empty } from './state.js';

const WIDTH = 640;
const HEIGHT = 160;
const INSET = 8;
/** Below the axis's values: none, half and all of its range. */
const TICKS = [1, 0.5, 0];

/** The size of each day's newest backup, as a line over time. */
export function SizeChart({ days }: { days: { date: string; size: number }[] }) {
  const [first] = days;
  const last = days.at(-1);
  if (first === undefined || last === undefined)
    return <Empty title="No sizes yet">The chart begins with the first completed backup.</Empty>;
  const largest = Math.max(...days.map((point) => point.size));
  const top = ceiling(largest);
  const start = Date.parse(first.date);
  const span = Math.max(1, Date.parse(last.date) - start);
  const heightOf = (share: number) => HEIGHT - INSET - share * (HEIGHT - 2 * INSET);
  const points = days.map((point) => ({
    ...point,
    x: days.length === 1 ? WIDTH / 2 : INSET + ((Date.parse(point.date) - start) / span) * (WIDTH - 2 * INSET),
    y: heightOf(point.size / top),
  }));
  const line = points.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
  const summary = `Size of backups from ${day(first.date)}, ${size(first.size)}, to ${day(last.date)}, ${size(last.size)}; at most ${size(largest)}.`;
  return (
    <figure className="chart-figure">
      <div className="chart-scale" aria-hidden>
        {TICKS.map((share) => (
          <Text key={share} size="xs" c="dimmed" className="exact">
            {size(Math.round(top * share))}
          </Text>
        ))}
      </div>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width="100%" role="img" aria-label={summary} className="chart">
        {TICKS.map((share) => (
          <line key={share} x1={0} x2={WIDTH} y1={heightOf(share)} y2={heightOf(share)} className="chart-axis" />
        ))}
        {points.length > 1 && (
          <>
            <polygon
              points={`${points[0]?.x ?? 0},${HEIGHT - INSET} ${line} ${points.at(-1)?.x ?? 0},${HEIGHT - INSET}`}
              className="chart-area"
            />
            <polyline points={line} className="chart-line" />
          </>
        )}
        {points.map(({ date, size: bytes, x, y }) => (
          <circle key={date} cx={x} cy={y} r={4} className="chart-point" data-many={points.length > 60 || undefined}>
            <title>{`${day(date)}: ${size(bytes)}`}</title>
          </circle>
        ))}
      </svg>
      <Group justify={days.length === 1 ? 'center' : 'space-between'} gap="xs" className="chart-dates" aria-hidden>
        <Text size="xs" c="dimmed">
          {day(first.date)}
          {days.length === 1 && ` · ${size(last.size)}`}
        </Text>
        {days.length > 1 && (
          <Text size="xs" c="dimmed">
            {day(last.date)} · {size(last.size)}
          </Text>
        )}
      </Group>
    </figure>
  );
}

/** A round size that is not less than the given one: the top of an axis. */
function ceiling(bytes: number): number {
  const unit = 1024 ** Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const step = [1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 800, 1_024].find((each) => each * unit >= bytes);
  return (step ?? 1_024) * unit;
}
