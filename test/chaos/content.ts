/**
 * Contents of files that say by themselves what they are: the name of the content, again and again, up to a length
 * that follows from the name. A byte that is wrong, missing or another file's shows.
 *
 * Pure.
 * @module
 */

const LENGTH_MAX = 3000;

export function contentOf(name: string): Buffer {
  let hash = 7;
  for (const character of name) hash = (hash * 31 + character.charCodeAt(0)) >>> 0;
  const lengthBytes = name.length + 1 + (hash % LENGTH_MAX);
  return Buffer.from(`${name}\n`.repeat(Math.ceil(lengthBytes / (name.length + 1)))).subarray(
    0,
    lengthBytes,
  );
}

/** The name of a content; "" for no bytes; a description of the damage when it is no content. */
export function nameOfContent(bytes: Uint8Array): string {
  if (bytes.length === 0) return "";
  const text = Buffer.from(bytes);
  const name = text.subarray(0, Math.max(0, text.indexOf("\n"))).toString();
  if (name !== "" && contentOf(name).equals(text)) return name;
  return `damaged: ${bytes.length} bytes beginning with ${JSON.stringify(text.subarray(0, 40).toString())}`;
}
