/**
 * Commands that set and take away what clients take as their defaults below a path.
 *
 * Pure. Whether a property may be set so, and whether its value is one, was decided by who proposed it; here is only what
 * keeps the table small.
 * @module
 */
import { RockpoolError } from "../common/errors.ts";
import { type ChangeContext, type CheckContext, NOTHING, type Outcome } from "./apply_context.ts";
import type { CommandOf } from "./command.ts";
import { pathConfigurationKey, pathConfigurationRow } from "./inode.ts";

/** Clients fetch all of it when they start. */
const PATHS_MAX = 1000;
const PROPERTIES_MAX = 200;
/** A path is the key of a row. */
const PATH_BYTES_MAX = 1900;

/** @throws RockpoolError RESOURCE_EXHAUSTED */
export function checkPathConfiguration(
  { view }: CheckContext,
  { path, properties }: CommandOf<"setPathConfiguration">,
): void {
  const pathBytes = new TextEncoder().encode(path).length;
  if (pathBytes > PATH_BYTES_MAX)
    throw new RockpoolError(
      "INVALID_ARGUMENT",
      `A path of ${pathBytes} bytes cannot have properties of its own (${PATH_BYTES_MAX} at most)`,
      "Set them for a directory further up",
    );
  const known = view.pathConfiguration(path)?.properties ?? [];
  const names = new Set([...known, ...properties].map(({ name }) => name));
  const refuse = (text: string) =>
    new RockpoolError("RESOURCE_EXHAUSTED", text, "Remove some with `fsadmin pathConf remove`");
  if (names.size > PROPERTIES_MAX)
    throw refuse(`${path} would have ${names.size} properties, and may have ${PROPERTIES_MAX}`);
  if (known.length === 0 && view.pathConfigurations().size >= PATHS_MAX)
    throw refuse(`${PATHS_MAX} paths have properties already`);
}

export function setPathConfiguration(
  { editor }: ChangeContext,
  { path, properties }: CommandOf<"setPathConfiguration">,
): Outcome {
  const known = editor.view.pathConfiguration(path)?.properties ?? [];
  const merged = new Map([...known, ...properties].map(({ name, value }) => [name, value]));
  put(editor, path, merged);
  return NOTHING;
}

export function removePathConfiguration(
  { editor }: ChangeContext,
  { path, names }: CommandOf<"removePathConfiguration">,
): Outcome {
  const known = editor.view.pathConfiguration(path)?.properties ?? [];
  const kept = known.filter(({ name }) => names.length > 0 && !names.includes(name));
  put(editor, path, new Map(kept.map(({ name, value }) => [name, value])));
  return NOTHING;
}

function put(
  { transaction }: ChangeContext["editor"],
  path: string,
  byName: ReadonlyMap<string, string>,
): void {
  const key = pathConfigurationKey(path);
  const properties = [...byName]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => ({ name, value }));
  if (properties.length === 0) transaction.remove(key);
  else transaction.put(key, pathConfigurationRow.encode({ properties }));
}
