/** Node: the kernel lies beside. @module */
import { readFile } from "node:fs/promises";

export const kernel = async () =>
  WebAssembly.compile(await readFile(new URL("./edge.wasm", import.meta.url)));
