/**
 * A plot of the last minutes that moves along.
 * @module
 */
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Sample } from "./store.ts";
import { useColours } from "./theme.ts";

export type Line = {
  readonly label: string;
  readonly colour: string;
  /** Null where there is no value, as before the first difference. */
  readonly valueOf: (sample: Sample, before: Sample | undefined) => number | null;
};

/** How fast something counts, per second. */
export function rateOf(name: string): Line["valueOf"] {
  return ({ atMs, values }, before) => {
    const [now, then] = [values[name], before?.values[name]];
    if (now === undefined || then === undefined || before === undefined) return null;
    const seconds = (atMs - before.atMs) / 1000;
    return seconds > 0 ? Math.max(0, now - then) / seconds : null;
  };
}

export const readingOf =
  (name: string, factor = 1): Line["valueOf"] =>
  ({ values }) => {
    const value = values[name];
    return value === undefined ? null : value * factor;
  };

function dataOf(history: readonly Sample[], lines: readonly Line[]): uPlot.AlignedData {
  const times = history.map(({ atMs }) => atMs / 1000);
  return [
    times,
    ...lines.map((line) => history.map((sample, at) => line.valueOf(sample, history[at - 1]))),
  ];
}

const HEIGHT = 180;
const WINDOW_MIN_S = 60;

/** From the first point to the last. */
function windowOf(times: ArrayLike<number>): [number, number] {
  const last = times[times.length - 1] ?? Date.now() / 1000;
  return [Math.min(times[0] ?? last, last - WINDOW_MIN_S), last];
}

const clockText = (seconds: number) => new Date(seconds * 1000).toTimeString().slice(0, 8);

export function Chart(props: {
  readonly title: string;
  readonly history: readonly Sample[];
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
}) {
  const { title, history, lines, format } = props;
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const colour = useColours();
  const text = colour("--quiet");
  const grid = colour("--line");
  const strokes = lines.map((line) => colour(line.colour)).join();
  // Made anew only when it has to look different.
  useEffect(() => {
    const element = host.current;
    if (element === null) return;
    const axis = {
      stroke: text,
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
      font: "11px system-ui, sans-serif",
    };
    const made = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height: HEIGHT,
        cursor: { y: false },
        legend: { live: true },
        scales: {
          // At least a minute, so that the first points are not a wall.
          x: { range: ({ data: [times] }) => windowOf(times) },
          y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] },
        },
        axes: [
          { ...axis, space: 80, values: (_plot, splits) => splits.map(clockText) },
          { ...axis, size: 76, values: (_plot, splits) => splits.map(format) },
        ],
        series: [
          { label: "at", value: "{HH}:{mm}:{ss}" },
          ...lines.map((line) => ({
            label: line.label,
            stroke: colour(line.colour),
            width: 2,
            points: { show: false },
            value: (_plot: uPlot, value: number | null) => (value === null ? "–" : format(value)),
          })),
        ],
      },
      dataOf(history, lines),
      element,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => {
      const width = Math.max(200, element.clientWidth);
      if (width !== made.width) made.setSize({ width, height: HEIGHT });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [text, grid, strokes]);
  useEffect(() => {
    const shown = plot.current;
    if (shown === null) return;
    shown.setData(dataOf(history, lines));
    // What is now, unless somebody points at something earlier.
    if ((shown.cursor.left ?? -1) < 0) shown.setLegend({ idx: history.length - 1 });
  }, [history, lines]);
  return (
    <figure class="chart">
      <figcaption>{title}</figcaption>
      <div ref={host} role="img" aria-label={`${title}, the last ten minutes`} />
    </figure>
  );
}
