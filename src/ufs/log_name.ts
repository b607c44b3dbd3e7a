/**
 * Which names objects of a log may have: see log_store.ts.
 * @module
 */
import { invariant } from "../common/invariant.ts";

const NAME = /^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/;

/** @param name of an object or a folder: our own code makes them, so another one is a bug */
export function requireLogName(name: string): void {
  invariant(NAME.test(name) && !/(^|\/)\.{1,2}(\/|$)/.test(name), "a log's names are plain");
}
