/**
 * Kernels that were tried beside those in `asm/`: block index, frame parse, XXH3 of keys, multi-page verify, each in WebAssembly
 * (`bench/candidates/asm`) against the best that there is in TypeScript. Both are checked to give the same before anything is
 * measured. What a candidate is worth is told by the path in which it would serve, measured too: docs/ARCHITECTURE.md has the
 * figures of one run.
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { Figures } from "./candidates/figures.ts";
import { clusterCosts, slotReadNs } from "./candidates/places.ts";
import { tryBlockIndex } from "./candidates/try_blocks.ts";
import { tryEdgeFrames, tryPeerFrames } from "./candidates/try_frames.ts";
import { tryKeys } from "./candidates/try_keys.ts";
import { tryPages } from "./candidates/try_pages.ts";
import { compileCandidates } from "./candidates/wasm.ts";
import { machineFacts } from "./harness.ts";
import { writePage } from "./page.ts";

const module = compileCandidates();
const figures = new Figures();
const readNs = await slotReadNs();
const costs = await clusterCosts();
tryBlockIndex(figures, module, costs);
tryEdgeFrames(figures, module, costs);
tryPeerFrames(figures, module);
await tryKeys(figures, module, costs);
tryPages(figures, module, readNs);
figures.printVerdicts();

const { verdicts, tables } = figures;
const document = {
  ...{ name: "candidates", measuredAt: new Date().toISOString(), machine: machineFacts() },
  ...{ verdicts, tables },
};
mkdirSync("bench/results", { recursive: true });
writeFileSync("bench/results/candidates.json", `${JSON.stringify(document, null, 2)}\n`);
const plots = tables.map(({ title, rows }) => ({
  ...{ title, unit: "ns" },
  groups: rows.map(({ name }) => name),
  series: [
    { name: "best", values: rows.map(({ bestNs }) => bestNs) },
    { name: "median", values: rows.map(({ medianNs }) => medianNs) },
  ],
}));
const shares = {
  ...{ title: "Of the path in which it would serve", unit: "%" },
  groups: verdicts.map(({ candidate }) => candidate),
  series: [
    { name: "goes there today", values: verdicts.map(({ share }) => 100 * share) },
    { name: "would be saved", values: verdicts.map(({ saved }) => 100 * saved) },
  ],
};
writePage("candidates", "Kernels that were tried", [shares, ...plots], document);
