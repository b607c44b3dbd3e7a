/** Bun: the file goes where the bundle goes. @module */
import file from "./edge.wasm" with { type: "file" };

export const kernel = async () =>
  WebAssembly.compile(await (await fetch(new URL(file, import.meta.url))).arrayBuffer());
