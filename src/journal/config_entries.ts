/**
 * The memberships that stand in the log: the one in force where it begins, and those of its config entries.
 * @module
 */
import type { LogIndex } from "../common/ids.ts";
import { decodeMembership } from "../raft/membership.ts";
import type { Entry, Membership, MembershipAt } from "../raft/messages.ts";

type ConfigEntry = { readonly index: LogIndex; readonly payload: Uint8Array };

export class ConfigEntries {
  readonly #founders: Membership;
  #beginIndex: LogIndex = 0;
  #beginPayload: Uint8Array | null = null;
  #entries: ConfigEntry[] = [];
  /** Decoded once; the core asks now and then. */
  #decoded: readonly MembershipAt[] | null = null;

  /** @param founders in force before the first config entry of all */
  constructor(founders: Membership) {
    this.#founders = founders;
  }

  /** @param payload the membership in force there; null: the founders */
  reset(beginIndex: LogIndex, payload: Uint8Array | null): void {
    this.#beginIndex = beginIndex;
    this.#beginPayload = payload;
    this.#entries = [];
    this.#decoded = null;
  }

  /** @throws DecodeError when it is a config entry whose payload is no membership */
  append({ index, kind, payload }: Entry): void {
    if (kind !== "config") return;
    decodeMembership(payload);
    this.#entries.push({ index, payload: payload.slice() });
    this.#decoded = null;
  }

  truncateFrom(index: LogIndex): void {
    if ((this.#entries.at(-1)?.index ?? 0) < index) return;
    this.#entries = this.#entries.filter((entry) => entry.index < index);
    this.#decoded = null;
  }

  /** The log begins behind `index` from now on. */
  trim(index: LogIndex): void {
    this.#beginPayload = this.payloadAt(index);
    this.#beginIndex = index;
    this.#entries = this.#entries.filter((entry) => entry.index > index);
    this.#decoded = null;
  }

  /** Payload of the newest config entry up to `index`; null: the founders. */
  payloadAt(index: LogIndex): Uint8Array | null {
    const last = this.#entries.findLast((entry) => entry.index <= index);
    return last?.payload ?? this.#beginPayload;
  }

  memberships(): readonly MembershipAt[] {
    this.#decoded ??= [
      { index: this.#beginIndex, membership: this.membershipOf(this.#beginPayload) },
      ...this.#entries.map(({ index, payload }) => ({
        index,
        membership: decodeMembership(payload),
      })),
    ];
    return this.#decoded;
  }

  /** @param payload null: the founders */
  membershipOf(payload: Uint8Array | null): Membership {
    return payload === null ? this.#founders : decodeMembership(payload);
  }
}
