/**
 * Rockpool's client for edge runtimes: the same source in workerd, Deno, Bun, browsers and Node.
 *
 *     import { connect } from "@rockpool/edge";
 *     const rockpool = connect({ masters: "https://m1:19999", token });
 *     for await (const piece of await rockpool.stream("/reports/today.csv")) …
 * @module
 */
import { dial, windowBytes } from "#socket";
import { kernel } from "#wasm";
import { type ClientOptions, RockpoolClient } from "./client.ts";

// biome-ignore-start lint/performance/noBarrelFile: this file is the package's entry
export type {
  EdgeEvent,
  EdgeListing,
  EdgeStatus,
  Range,
} from "../../src/edge/words.ts";
export type { ClientOptions, Opened, ReadOptions, RockpoolClient } from "./client.ts";
export { type DirectCounts, type DirectOptions, readDirect } from "./direct.ts";
export { EdgeError } from "./edge_error.ts";
export { PageCache, type PageCacheOptions } from "./page_cache.ts";
export { type RespondOptions, respond } from "./response.ts";
export { watch } from "./watch.ts";
export { remove, rename, type WriteOptions, writeFile } from "./write.ts";
// biome-ignore-end lint/performance/noBarrelFile: as above

/** A client; it connects when it is first asked for something. */
export function connect(options: ClientOptions): RockpoolClient {
  return new RockpoolClient(options, { dial, windowBytes, kernel });
}
