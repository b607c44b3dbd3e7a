/**
 * Streams a file into the cluster and back: memory stays small whatever the size.
 * `node examples/streams.mjs [masters]`
 */
import { createReadStream } from "node:fs";
import { createHash } from "node:crypto";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { FileSystem } from "rockpool/client";

const files = await FileSystem.connect({ masters: process.argv[2] ?? "localhost:19998" });
try {
  const source = fileURLToPath(import.meta.url);
  // CACHE_THROUGH: when the stream finishes, workers and under store both have the bytes.
  const out = await files.createFile("/examples/source", {
    writeType: "CACHE_THROUGH",
    isOverwrite: true,
  });
  await pipeline(createReadStream(source), out);

  const hash = createHash("sha256");
  await pipeline(await files.createReadStream("/examples/source"), hash);
  const local = createHash("sha256");
  await pipeline(createReadStream(source), local);
  console.log(hash.digest("hex") === local.digest("hex") ? "same bytes" : "different bytes");
} finally {
  await files.close();
}
