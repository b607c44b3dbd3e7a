/**
 * HTML without holes: every value that comes from outside passes through {@link escapeHtml}, because the
 * template tag does it for each of them.
 * @module
 */
import { formatSize } from "../common/units.ts";

/** Text that is HTML already; made only by the tag below. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}

type Value = Html | string | number | readonly Value[];

function render(value: Value): string {
  if (value instanceof Html) return value.text;
  if (typeof value === "string" || typeof value === "number") return escapeHtml(String(value));
  return value.map(render).join("");
}

/** html`<b>${name}</b>`: strings are escaped, Html and lists of it are put in as they are. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
  return new Html(parts.map((part, at) => part + render(values[at] ?? "")).join(""));
}

/** An http link; anything else than a host and a port is shown as text. */
export function webLink(hostPort: string, label = hostPort): Html {
  return /^[\w.:[\]-]+$/.test(hostPort)
    ? html`<a href="http://${hostPort}/">${label}</a>`
    : html`${label}`;
}

export function table(heads: readonly string[], rows: readonly (readonly Value[])[]): Html {
  if (rows.length === 0) return html`<p class="quiet">None.</p>`;
  return html`<div class="scroll"><table><thead><tr>${heads.map((head) => html`<th>${head}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>`;
}

/** A bar of what is used, with the numbers beside it. */
export function usage(usedBytes: number, capacityBytes: number): Html {
  const percent =
    capacityBytes > 0 ? Math.min(100, Math.round((usedBytes / capacityBytes) * 100)) : 0;
  return html`<span class="bar"><span style="width:${percent}%"></span></span> ${formatSize(usedBytes)} of ${formatSize(capacityBytes)} (${percent}%)`;
}

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [seconds % 60, "s"],
  ] as const;
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return "0s";
  return parts
    .slice(first, first + 2)
    .map(([amount, unit]) => `${amount}${unit}`)
    .join(" ");
}

const STYLE = `
:root{color-scheme:light dark;--back:#f7f7f5;--card:#fff;--text:#1c1d1f;--quiet:#6b6f76;--line:#e2e2dd;--accent:#0b6e75;--good:#1a7f45;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--back:#141517;--card:#1d1f22;--text:#e7e7e4;--quiet:#9a9ea6;--line:#313439;--accent:#5cc4cc;--good:#5ecb8b;--bad:#ff8a80}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:64rem;margin:0 auto;padding:1.5rem 1rem 3rem}header{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:baseline;margin-bottom:1rem}
h1{font-size:1.35rem;margin:0}h2{font-size:1rem;margin:0 0 .5rem}section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem;margin:0 0 1rem}
a{color:var(--accent)}.quiet{color:var(--quiet);margin:0}.good{color:var(--good)}.bad{color:var(--bad)}
.badge{border:1px solid currentColor;border-radius:1rem;padding:0 .6rem;font-size:.85rem}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:.75rem;margin:0}dt{color:var(--quiet);font-size:.8rem}dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-top:1px solid var(--line);white-space:nowrap}th{border:0;color:var(--quiet);font-weight:500;font-size:.8rem}
.bar{display:inline-block;width:6rem;height:.55rem;border-radius:.3rem;background:var(--line);overflow:hidden}.bar span{display:block;height:100%;background:var(--accent)}
`;

export function facts(pairs: readonly (readonly [string, Value])[]): Html {
  return html`<dl>${pairs.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;
}

export function section(title: string, content: Html): Html {
  return html`<section><h2>${title}</h2>${content}</section>`;
}

export type Badge = { readonly text: string; readonly mood: "good" | "bad" | "quiet" };

/** A whole page: nothing is loaded from anywhere, and it asks for itself again every five seconds. */
export function page(title: string, badge: Badge, sections: readonly Html[]): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="refresh" content="5"><title>${title}</title><style>${new Html(STYLE)}</style></head>
<body><main><header><h1>${title}</h1><span class="badge ${badge.mood}">${badge.text}</span></header>
${sections}
<p class="quiet"><a href="/healthz">health</a> · <a href="/leader">leader</a> · <a href="/metrics/prometheus/">metrics</a></p>
</main></body></html>
`.text;
}
