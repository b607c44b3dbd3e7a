/**
 * Kernels that were tried beside those in `asm/`: all in one module, as they would stand there. The memory's first 0x30000
 * bytes are those of `asm/crc32c.ts`, which is part of it; what lies behind is the host's.
 * @module
 */
export { crc32c, init } from "../../../asm/crc32c";
export { tableAt, tableGet, tableGetHalves, tableGetMany, tablePut } from "./block_table";
export { edgeFrame, peerFrames } from "./frames";
export { firstDamagedPage } from "./pages";
export { xxh3, xxh3Low } from "./xxh3";
