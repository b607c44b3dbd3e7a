/**
 * What must be true of a history whatever order its operations took effect in: files that nobody touches after they were
 * written, and contents. Quick, and independent of the model that judges linearizability.
 *
 * Pure.
 * @module
 */
import { type Operation, REFUSALS } from "./history.ts";

/** A file at the end: its path below the folder of all partitions, and what it holds; null when it is not complete. */
export type FinalFile = { readonly path: string; readonly content: string | null };

/** @returns what is wrong, a line each */
export function checkKept(kept: readonly Operation[], files: readonly FinalFile[]): string[] {
  const wrong: string[] = [];
  const byPath = new Map(files.map((file) => [file.path, file]));
  const written = new Map<string, Operation>();
  for (const operation of kept) {
    const path = `${operation.partition}/${operation.path}`;
    if (written.has(path)) throw new Error(`${path} was written twice by the clients themselves`);
    written.set(path, operation);
    const found = byPath.get(path);
    // Nobody else knows its name, so only its own repetition can have been in the way.
    if (REFUSALS.has(operation.result))
      wrong.push(`${path}: its writer was refused with ${operation.result}`);
    else if (operation.result === "ok" && found === undefined)
      wrong.push(`${path}: acknowledged, and gone`);
    else if (operation.result === "ok" && found?.content !== operation.content)
      wrong.push(
        `${path}: acknowledged, and holds ${found?.content ?? "nothing: it is incomplete"}`,
      );
    else if (found !== undefined && found.content !== null && found.content !== operation.content)
      wrong.push(`${path}: holds ${found.content}, not what was written`);
  }
  for (const path of byPath.keys())
    if (!written.has(path)) wrong.push(`${path}: is there, and nobody wrote it`);
  return wrong;
}

/**
 * Contents have names that are used once.
 * @param reads what was read at any time
 * @returns what is wrong, a line each
 */
export function checkContents(
  operations: readonly Operation[],
  files: readonly FinalFile[],
): string[] {
  const wrong: string[] = [];
  const intended = new Set<string>([""]);
  for (const { kind, content } of operations)
    if ((kind === "create" || kind === "write") && content !== undefined) intended.add(content);
  for (const { kind, result, partition, path, content } of operations)
    if (kind === "read" && result === "ok" && !intended.has(content ?? ""))
      wrong.push(`${partition}/${path}: a read gave ${content}, which nobody wrote`);
  const places = new Map<string, string>();
  for (const { path, content } of files) {
    if (content === null || content === "") continue;
    if (!intended.has(content)) wrong.push(`${path}: holds ${content}, which nobody wrote`);
    const other = places.get(content);
    if (other !== undefined) wrong.push(`${path} and ${other} both hold ${content}`);
    places.set(content, path);
  }
  return wrong;
}
