/**
 * Opens the kernels in Node. The WebAssembly is inside the bundle (`dist/kernels/crc32c.wasm`, made by
 * build.mjs); other runtimes compile it their own way and call `openWasmKernels`.
 * @module
 */
import crc32cWasm from "../../dist/kernels/crc32c.wasm";
import { openFallbackKernels } from "./fallback.ts";
import type { Kernels } from "./kernels.ts";
import { openWasmKernels } from "./wasm_kernels.ts";

/**
 * @param arenaBytes room for callers; `arenaBytesOf(slotCount)` of `slot_pool.ts` says what slots take
 * @throws RockpoolError RESOURCE_EXHAUSTED when there is not that much memory
 */
export function openKernels(options: {
  readonly flavour: "wasm" | "js";
  readonly arenaBytes: number;
}): Kernels {
  if (options.flavour === "js") return openFallbackKernels(options);
  return openWasmKernels(new WebAssembly.Module(crc32cWasm), options);
}
