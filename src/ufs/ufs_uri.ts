/**
 * Locations in under stores: "/folder/x", "file:///folder/x", "s3://bucket/x", "hdfs://host:port/x".
 * @module
 */
import type { UnderFileSystem } from "./under_file_system.ts";

/** The path of a location within its store: what the calls of an UnderFileSystem take. */
export function pathWithinStore(uri: string): string {
  const authority = /^[a-z][a-z0-9+.-]*:(?:\/\/[^/]*)?/i.exec(uri)?.[0] ?? "";
  const path = uri.slice(authority.length);
  return path.startsWith("/") ? path : `/${path}`;
}

/** Finds the store of a location. The same location always leads to the same store. */
export type UfsRegistry = (uri: string) => UnderFileSystem;
