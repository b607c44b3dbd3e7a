/**
 * Results as a page that needs nothing from elsewhere: plots by uPlot, the figures in tables, and the JSON itself.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";

export type Plot = {
  readonly title: string;
  readonly unit: string;
  /** Along the axis, one cluster of bars each. */
  readonly groups: readonly string[];
  readonly series: readonly { readonly name: string; readonly values: readonly number[] }[];
};

const COLORS = ["#8a94a6", "#2f6fde", "#1a9b6c", "#d9822b", "#8f4fd1", "#c2364b"];

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
/** JSON that may stand inside a script. */
const embedded = (value: unknown) => JSON.stringify(value).replaceAll("<", "\\u003c");

function table({ title, unit, groups, series }: Plot): string {
  const head = ["", ...series.map(({ name }) => name)].map((text) => `<th>${escaped(text)}</th>`);
  const rows = groups.map((group, at) => {
    const cells = series.map(({ values }) => `<td>${values[at] ?? "–"}</td>`);
    return `<tr><th>${escaped(group)}</th>${cells.join("")}</tr>`;
  });
  return `<table><caption>${escaped(title)} (${escaped(unit)})</caption><tr>${head.join("")}</tr>${rows.join("")}</table>`;
}

/** Runs in the page: draws what the page carries. `uPlot` is above it. */
const DRAW = `
const bars = uPlot.paths.bars;
for (const [at, plot] of plots.entries()) {
  const count = plot.series.length, width = 0.8 / count;
  const place = document.getElementById("plot" + at);
  const shifted = plot.series.map((_, which) => (which - (count - 1) / 2) * width);
  const xs = plot.groups.map((_, index) => index);
  const all = [...new Set(xs.flatMap((x) => shifted.map((by) => x + by)))].sort((a, b) => a - b);
  const data = [all, ...plot.series.map(({ values }, which) => {
    const own = new Map(xs.map((x, index) => [x + shifted[which], values[index]]));
    return all.map((x) => own.get(x) ?? null);
  })];
  new uPlot({
    title: plot.title, width: Math.min(1000, place.clientWidth), height: 320,
    scales: { x: { time: false, range: [-0.6, plot.groups.length - 0.4] }, y: { range: (_, low, high) => [0, high * 1.05] } },
    axes: [
      { splits: () => xs, values: () => plot.groups, grid: { show: false } },
      { label: plot.unit, size: 70 },
    ],
    series: [{ label: "" , value: (_, x) => x === null ? "" : plot.groups[Math.round(x)] ?? "" },
      ...plot.series.map(({ name }, which) => ({
        label: name, stroke: colors[which], fill: colors[which], width: 0, points: { show: false },
        paths: bars({ size: [0.9 / count * count, 48] }),
      }))],
  }, data, place);
}`;

/** Writes bench/results/<name>.html. @param document what the JSON beside it says */
export function writePage(
  name: string,
  title: string,
  plots: readonly Plot[],
  document: unknown,
): void {
  const script = readFileSync("node_modules/uplot/dist/uPlot.iife.min.js", "utf8");
  const style = readFileSync("node_modules/uplot/dist/uPlot.min.css", "utf8");
  const places = plots.map((plot, at) => `<div id="plot${at}"></div>${table(plot)}`);
  const page = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escaped(title)}</title>
<style>${style}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1040px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 0.5rem 0 2.5rem; } caption { text-align: left; color: #556; }
th, td { border-bottom: 1px solid #ddd; padding: 0.2rem 0.9rem 0.2rem 0; text-align: right; } th:first-child { text-align: left; }
pre { background: #f5f6f8; padding: 1rem; overflow: auto; max-height: 30rem; }
</style></head><body>
<h1>${escaped(title)}</h1>
${places.join("\n")}
<details><summary>All figures, and the machine</summary><pre>${escaped(JSON.stringify(document, null, 2))}</pre></details>
<script>${script}</script>
<script>const plots = ${embedded(plots)}, colors = ${embedded(COLORS)};${DRAW}</script>
</body></html>
`;
  writeFileSync(`bench/results/${name}.html`, page);
}
