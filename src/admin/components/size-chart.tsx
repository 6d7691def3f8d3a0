import { Text } from '@mantine/core';
import { day, size } from '../format.js';

const WIDTH = 640;
const HEIGHT = 160;
const INSET = 8;

/** The size of each day's newest backup, as a line over time. */
export function SizeChart({ days }: { days: { date: string; size: number }[] }) {
  const [first] = days;
  const last = days.at(-1);
  if (first === undefined || last === undefined) return <Text c="dimmed">No backup has a size yet.</Text>;
  const largest = Math.max(...days.map((point) => point.size));
  const start = Date.parse(first.date);
  const span = Math.max(1, Date.parse(last.date) - start);
  const points = days.map((point) => ({
    ...point,
    x: days.length === 1 ? WIDTH / 2 : INSET + ((Date.parse(point.date) - start) / span) * (WIDTH - 2 * INSET),
    y: HEIGHT - INSET - (point.size / Math.max(1, largest)) * (HEIGHT - 2 * INSET),
  }));
  const line = points.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
  const summary = `Size of backups from ${day(first.date)}, ${size(first.size)}, to ${day(last.date)}, ${size(last.size)}; at most ${size(largest)}.`;
  return (
    <figure style={{ margin: 0 }}>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width="100%" role="img" aria-label={summary} className="chart">
        <line x1={0} x2={WIDTH} y1={HEIGHT - INSET} y2={HEIGHT - INSET} className="chart-axis" />
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
      <Text component="figcaption" size="xs" c="dimmed">
        {days.length === 1
          ? `${day(last.date)}: ${size(last.size)}`
          : `${day(first.date)} to ${day(last.date)} · now ${size(last.size)} · at most ${size(largest)}`}
      </Text>
    </figure>
  );
}
