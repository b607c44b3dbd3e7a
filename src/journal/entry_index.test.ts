import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EntryIndex, placeOf, splitPlace } from "./entry_index.ts";

type Step =
  | { readonly kind: "append"; readonly newTerm: boolean; readonly size: number }
  | { readonly kind: "truncate"; readonly back: number }
  | { readonly kind: "durable"; readonly share: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("append" as const),
    newTerm: fc.boolean(),
    size: fc.nat(40),
  }),
  fc.record({ kind: fc.constant("truncate" as const), back: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constant("durable" as const), share: fc.nat(100) }),
);

test("EntryIndex knows every term, and holds what is new or not durable", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 50 }),
      fc.array(step, { maxLength: 60 }),
      (first, steps) => {
        const index = new EntryIndex(100);
        index.reset(first, first === 1 ? 0 : 1);
        let terms: number[] = [];
        let term = 1;
        for (const each of steps) {
          if (each.kind === "append") {
            if (each.newTerm) term += 1;
            const payload = new Uint8Array(each.size);
            index.append({ index: first + terms.length, term, kind: "command", payload });
            index.setPlace(first + terms.length, placeOf(3, terms.length));
            terms.push(term);
          } else if (each.kind === "truncate" && terms.length > 0) {
            const length = Math.max(0, terms.length - each.back);
            index.truncateFrom(first + length);
            terms = terms.slice(0, length);
            term += 1;
          } else if (each.kind === "durable")
            index.markDurable(first - 1 + Math.floor((terms.length * each.share) / 100));
          assert.equal(index.lastIndex, first + terms.length - 1);
          for (const [at, expected] of terms.entries()) {
            assert.equal(index.termOf(first + at), expected);
            assert.equal(splitPlace(index.placeAt(first + at)).offsetBytes, at);
          }
          assert.equal(index.termOf(first - 1), first === 1 ? 0 : 1);
          assert.equal(index.termOf(first + terms.length), undefined);
          assert.equal(index.termOf(first - 2), undefined);
          for (let at = index.durableIndex + 1; at <= index.lastIndex; at++)
            assert.equal(index.held(at)?.index, at);
          assert.equal(index.held(index.lastIndex + 1), undefined);
          assert.equal(index.held(first - 1), undefined);
          if (index.durableIndex === index.lastIndex) assert.ok(index.heldBytes <= 140);
        }
      },
    ),
  );
});
