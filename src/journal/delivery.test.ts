import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RockpoolError } from "../common/errors.ts";
import { unreachable } from "../common/invariant.ts";
import { APPLY_BYTES_MAX } from "../common/limits.ts";
import type { Entry } from "../raft/messages.ts";
import { unbundle } from "./bundle.ts";
import { Delivery } from "./delivery.ts";
import { ENTRY_KINDS, type FromThread, unpack } from "./journal_protocol.ts";
import { WaitingProposals } from "./waiting.ts";

type Step =
  /** This master is elected, and begins with a no-op. */
  | { readonly kind: "lead" }
  | { readonly kind: "propose"; readonly count: number; readonly areLarge: boolean }
  /** Another one leads: it replaces some of what is not committed, and adds its own. */
  | { readonly kind: "follow"; readonly back: number; readonly count: number }
  | { readonly kind: "commit"; readonly count: number }
  /** The main thread hears so many messages. */
  | { readonly kind: "hear"; readonly count: number }
  /** A checkpoint of what is committed replaces the state; or the state is put back. */
  | { readonly kind: "install"; readonly ahead: number };

const few = fc.integer({ min: 1, max: 6 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lead" as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("propose" as const),
      count: few,
      areLarge: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("follow" as const), back: few, count: few }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("commit" as const), count: few }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("hear" as const), count: few }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("install" as const),
      ahead: fc.integer({ min: -5, max: 5 }),
    }),
  },
);

/** Both ends of the wire between the threads, above a log as it is in memory. */
class Rig {
  readonly log: Entry[] = [];
  readonly answers: { readonly payload: Uint8Array; readonly result: Uint8Array }[] = [];
  ownCount = 0;
  readonly #delivery = new Delivery((message) => this.#wire.push(message));
  readonly #proposals = new WaitingProposals<Uint8Array>();
  #wire: (FromThread | { readonly kind: "reignEnded" })[] = [];
  #term = 0;
  #isLeader = false;
  #committed = 0;
  #applied = 0;
  #made = 0;

  do(next: Step): void {
    switch (next.kind) {
      case "lead":
        this.#reign(true);
        this.#append("noop", new Uint8Array(0));
        break;
      case "propose":
        this.#propose(next.count, next.areLarge ? APPLY_BYTES_MAX : 8);
        break;
      case "follow":
        this.#reign(false);
        this.log.length = Math.max(this.#committed, this.log.length - next.back);
        for (let left = next.count; left > 0; left--) this.#append("command", this.#bytes(8));
        break;
      case "commit":
        this.#committed = Math.min(this.log.length, this.#committed + next.count);
        break;
      case "hear":
        for (let left = next.count; left > 0; left--) this.#hear();
        break;
      case "install":
        this.#install(next.ahead);
        break;
      default:
        unreachable(next);
    }
    this.#send();
  }

  /** All is committed and heard. */
  finish(): void {
    this.#committed = this.log.length;
    while (this.#applied < this.#committed) {
      this.#send();
      this.#hear();
    }
  }

  #bytes(length: number): Uint8Array {
    this.#made += 1;
    const bytes = new Uint8Array(length);
    new DataView(bytes.buffer).setUint32(0, this.#made);
    return bytes;
  }

  #reign(isLeader: boolean): void {
    this.#term += 1;
    if (this.#isLeader) this.#wire.push({ kind: "reignEnded" });
    this.#isLeader = isLeader;
  }

  #append(kind: Entry["kind"], payload: Uint8Array): void {
    this.log.push({ index: this.log.length + 1, term: this.#term, kind, payload });
  }

  #propose(count: number, length: number): void {
    if (!this.#isLeader) return;
    for (let left = count; left > 0; left--) {
      const payload = this.#bytes(length);
      this.#proposals.add(payload).then(
        (result) => this.answers.push({ payload, result }),
        () => {}, // its reign has ended
      );
    }
    const request = this.#proposals.takeQueued();
    assert.ok(request);
    const firstIndex = this.log.length + 1;
    const payloads = unpack(request.payloads);
    for (const payload of payloads) this.#append(request.entryKind, payload.slice());
    this.#delivery.proposed(firstIndex, payloads.length, this.#term);
    const { requestId } = request;
    this.#wire.push({ kind: "accepted", requestId, firstIndex, term: this.#term });
  }

  #send(): void {
    const log = {
      entries: (from: number, to: number) => this.log.slice(from - 1, Math.min(to - 1, from + 3)),
      termOf: (index: number) => this.log[index - 1]?.term,
    };
    this.#delivery.send(log, this.#committed);
  }

  #hear(): void {
    const message = this.#wire.shift();
    if (message?.kind === "reignEnded")
      this.#proposals.rejectAll(() => new RockpoolError("UNAVAILABLE", "The reign is over"));
    else if (message?.kind === "accepted")
      this.#proposals.accepted(message.requestId, message.firstIndex, message.term);
    else if (message?.kind === "committed") {
      const { firstIndex, terms, kinds } = message.entries;
      for (const [at, payload] of unpack(message.entries).entries())
        this.#apply(firstIndex + at, terms[at], kinds[at], payload);
      this.#delivery.applied(this.#applied);
    } else if (message?.kind === "committedOwn") {
      this.ownCount += message.count;
      const { payloads, kinds } = this.#proposals.entriesOf(message);
      for (const [at, payload] of payloads.entries())
        this.#apply(message.firstIndex + at, message.term, kinds[at], payload);
      this.#delivery.applied(this.#applied);
    }
  }

  #apply(index: number, term: number | undefined, kind: number | undefined, payload: Uint8Array) {
    assert.equal(index, this.#applied + 1);
    const entry = this.log[index - 1];
    assert.ok(entry);
    assert.deepEqual([term, kind], [entry.term, ENTRY_KINDS[entry.kind]]);
    assert.deepEqual(payload, entry.payload);
    this.#applied = index;
    const commands = { noop: [], config: [], command: [payload], commands: [] }[entry.kind];
    for (const command of entry.kind === "commands" ? unbundle(payload) : commands)
      this.#proposals.applied(index, entry.term, command, () => {
        return new RockpoolError("UNAVAILABLE", "Another leader's entry is there");
      });
  }

  /** Meanwhile nothing is sent. */
  #install(ahead: number): void {
    while (this.#wire.length > 0) this.#hear();
    this.#applied = Math.max(0, Math.min(this.#committed, this.#applied + ahead));
    const term = this.log[this.#applied - 1]?.term ?? 0;
    this.#delivery.restart({ index: this.#applied, term, membership: null });
  }
}

test("Delivery brings the main thread what is committed, its own without the bytes, whoever led and whatever was replaced", async () => {
  let ownCount = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 80 }), async (steps) => {
      const rig = new Rig();
      rig.do({ kind: "lead" });
      for (const each of steps) rig.do(each);
      rig.finish();
      await Promise.resolve();
      for (const { payload, result } of rig.answers) assert.deepEqual(result, payload);
      ownCount += rig.ownCount;
    }),
    { numRuns: 1000 },
  );
  assert.ok(ownCount > 1000, `${ownCount} were not sent back`);
});
