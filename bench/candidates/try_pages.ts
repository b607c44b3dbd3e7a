/**
 * Multi-page verify: the pages of a slot against the checksums that are kept of them.
 * @module
 */
import assert from "node:assert/strict";
import { PAGE_BYTES, SLOT_BYTES } from "../../src/common/limits.ts";
import { openKernels } from "../../src/kernels/load.ts";
import { firstDamagedPage, type PageChecksums } from "../../src/worker/page_checksums.ts";
import { type Figures, nsOf, numbers } from "./figures.ts";
import { openCandidates } from "./wasm.ts";

const WASM = "WebAssembly, compared there";
const HERE = "page CRCs in one call, compared in TypeScript";
const ONE_BY_ONE = "one call a page";

export function tryPages(figures: Figures, module: WebAssembly.Module, slotReadNs: number): void {
  const count = SLOT_BYTES / PAGE_BYTES;
  const kernels = openKernels({ flavour: "wasm", arenaBytes: SLOT_BYTES });
  const wasm = openCandidates(module, SLOT_BYTES + 4 * count);
  const { exports, memory, arenaOffset } = wasm;
  const bytes = new Uint8Array(numbers(SLOT_BYTES / 4).buffer);
  memory.set(bytes, arenaOffset);
  kernels.memory.set(bytes, kernels.arenaOffset);
  const crcs = new Uint32Array(count);
  kernels.pageCrcsInMemory(kernels.arenaOffset, SLOT_BYTES, PAGE_BYTES, crcs);
  const checksums: PageChecksums = { blockId: 1n, lengthBytes: SLOT_BYTES, crcs };
  const expectedAt = arenaOffset + SLOT_BYTES;
  const expected = new Uint32Array(memory.buffer, expectedAt, count);
  const scratch = new Uint32Array(count);
  const range = { offsetBytes: kernels.arenaOffset, lengthBytes: SLOT_BYTES, firstPage: 0 };
  const ways = {
    [WASM]: () => {
      expected.set(crcs);
      return exports.firstDamagedPage(arenaOffset, SLOT_BYTES, PAGE_BYTES, expectedAt);
    },
    [HERE]: () => firstDamagedPage(kernels, checksums, range, scratch),
    [ONE_BY_ONE]: () => {
      for (let page = 0; page < count; page++) {
        const at = kernels.arenaOffset + page * PAGE_BYTES;
        if (kernels.crc32cInMemory(at, PAGE_BYTES) !== crcs[page]) return page;
      }
      return -1;
    },
  };
  const flipBit = () => {
    for (const { memory: of, arenaOffset: from } of [wasm, kernels]) {
      const at = from + 5 * PAGE_BYTES + 9;
      of[at] = (of[at] ?? 0) ^ 1;
    }
  };
  for (const way of Object.values(ways)) assert.equal(way(), -1);
  flipBit();
  for (const way of Object.values(ways)) assert.equal(way(), 5);
  flipBit();
  const rivals = Object.entries(ways).map(([name, way]) => ({ name, run: () => void way() }));
  const rows = figures.compare(`Verify ${count} pages of 64 KiB`, 1, rivals);
  const path = "1 MiB of an open block is read and verified, in the worker alone";
  const place = { path, pathNs: slotReadNs, times: 1 };
  const best = Math.min(nsOf(rows, HERE), nsOf(rows, ONE_BY_ONE));
  figures.judge("multi-page verify", nsOf(rows, WASM), best, place);
}
