/**
 * The nearest of the words that are known to one that is not. Pure.
 * @module
 */
import { editDistance } from "../conf/keys.ts";

/** Words that are compared; longer ones are no typing errors. */
const WORD_CHARS_MAX = 40;

/** The words nearest to one, at most three of them; none when all are far from it. */
export function nearest(word: string, known: Iterable<string>): readonly string[] {
  const wanted = word.replaceAll("-", "").toLowerCase();
  if (wanted === "" || wanted.length > WORD_CHARS_MAX) return [];
  // One error in three letters is still the same word; of two letters one.
  const far = Math.max(1, Math.floor(wanted.length / 3));
  const found = [...new Set(known)]
    .map((one) => ({
      one,
      far: editDistance(wanted, one.replaceAll("-", "").toLowerCase(), far + 1),
    }))
    .filter((candidate) => candidate.far <= far)
    .sort((a, b) => a.far - b.far || (a.one < b.one ? -1 : 1));
  return found
    .filter((candidate) => candidate.far === found[0]?.far)
    .slice(0, 3)
    .map(({ one }) => one);
}

/** "Did you mean …?", or nothing. */
export function didYouMean(words: readonly string[]): string {
  if (words.length === 0) return "";
  return `Did you mean ${words.length === 1 ? "" : "one of: "}${words.join(", ")}?`;
}
