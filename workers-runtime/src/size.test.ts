import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const READ_BYTES_MAX = 4096;
const WASM_BYTES_MAX = 1536;

/** Gzipped size of what a bundler leaves of the package for a Worker that uses some of its names. */
async function bundleBytes(names: string): Promise<number> {
  const folder = "workers-runtime/src";
  const { outputFiles } = await build({
    ...{ bundle: true, minify: true, write: false, format: "esm", target: "es2022" },
    ...{ platform: "neutral", logLevel: "silent", external: ["*.wasm"] },
    stdin: {
      contents: `import { ${names} } from "./index.ts"; globalThis.used = [${names}];`,
      resolveDir: folder,
      loader: "ts",
    },
    alias: { "#wasm": `./${folder}/wasm/workerd.ts`, "#socket": `./${folder}/socket/web.ts` },
  });
  return gzipSync(outputFiles[0]?.contents ?? "", { level: 9 }).length;
}

test("what reads files is at most 4 KiB of JavaScript and 1.5 KiB of WebAssembly, gzipped", async () => {
  const readBytes = await bundleBytes("connect");
  assert.ok(readBytes <= READ_BYTES_MAX, `${readBytes} bytes`);
  const wasmBytes = gzipSync(readFileSync("dist/kernels/edge.wasm"), { level: 9 }).length;
  assert.ok(wasmBytes <= WASM_BYTES_MAX, `${wasmBytes} bytes`);
});

test("who only reads does not carry what writes, watches, answers and keeps", async () => {
  const readBytes = await bundleBytes("connect");
  for (const name of ["writeFile", "watch", "respond", "PageCache"])
    assert.ok((await bundleBytes(`connect, ${name}`)) > readBytes + 50, name);
});
