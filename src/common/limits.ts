/**
 * Every bound of the system, each with its reason. Full means RESOURCE_EXHAUSTED or back-pressure,
 * never growth.
 * @module
 */
const KiB = 1024;
const MiB = 1024 * KiB;

/** HDFS's and Alluxio's own limits on names; a directory entry's key must also fit in LMDB's 1978 B. */
export const NAME_BYTES_MAX = 255;
export const PATH_BYTES_MAX = 4096;
export const PATH_DEPTH_MAX = 200;

/** Alluxio's page of checksums; small enough to repair cheaply, large enough that CRCs cost 0.006 %. */
export const PAGE_BYTES = 64 * KiB;
/** Alluxio's client asks for chunks of 1 MiB; the Java decoder takes at most 2 MiB. */
export const CHUNK_BYTES_MAX = 2 * MiB;
/** One slot of WASM memory: one chunk. */
export const SLOT_BYTES = 1 * MiB;
/** How far a block reader may run ahead of what its client has acknowledged. */
export const READ_WINDOW_BYTES = 4 * MiB;

/** One command: a rename with two paths of 4 KiB and a listing fact of 1000 names fit many times. */
export const ENTRY_BYTES_MAX = 1 * MiB;
/** One append: what came while the last fdatasync ran, at most this. */
export const BATCH_BYTES_MAX = 1 * MiB;
export const BATCH_ENTRIES_MAX = 4096;
/** Proposals that wait for a commit; beyond it callers get RESOURCE_EXHAUSTED. */
export const PROPOSALS_MAX = 16_384;
/** Entries applied in one transaction: bounds how long the main loop is held. */
export const APPLY_ENTRIES_MAX = 256;
/** The same of their bytes, for entries that hold many rows: one entry more may be in it. */
export const APPLY_BYTES_MAX = 32 * 1024;
/** Entries and bytes in flight to one peer. */
export const PEER_INFLIGHT_ENTRIES_MAX = 4096;
export const PEER_INFLIGHT_BYTES_MAX = 8 * MiB;

/** Names and values of one inode's extended attributes: a row, with all else, must stay far below an entry. */
export const XATTR_BYTES_MAX = 64 * KiB;
/** Entries of one listing message; a complete FileInfo is about 400 B. */
export const LIST_BATCH = 1000;
/** Blocks of one file: what is told of them fills a message, and freeing them holds the main loop for half a second. */
export const FILE_BLOCKS_MAX = 1_000_000;
/** Children removed by one entry of a recursive delete: keeps one entry's apply below ~20 ms. */
export const DELETE_BATCH = 1000;
/** Alluxio's retry cache size; also the least that a client's 2 min of retries can need. */
export const DEDUPE_ENTRIES_MAX = 100_000;
