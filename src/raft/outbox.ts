/**
 * What this node has to say, in two piles: what may leave at once, and what promises something
 * about this node's disk and must wait for it.
 * @module
 */
import type { MemberId, Term } from "../common/ids.ts";
import type { Message } from "./messages.ts";

type WithoutEnvelope<M> = M extends unknown ? Omit<M, "from" | "to" | "term"> : never;
export type MessageBody = WithoutEnvelope<Message>;

export class Outbox {
  readonly #self: MemberId;
  #messages: Message[] = [];
  #messagesAfterPersist: Message[] = [];

  constructor(self: MemberId) {
    this.#self = self;
  }

  send(to: MemberId, term: Term, body: MessageBody): void {
    this.#messages.push({ from: this.#self, to, term, ...body });
  }

  sendAfterPersist(to: MemberId, term: Term, body: MessageBody): void {
    this.#messagesAfterPersist.push({ from: this.#self, to, term, ...body });
  }

  take(): { messages: readonly Message[]; messagesAfterPersist: readonly Message[] } {
    const taken = { messages: this.#messages, messagesAfterPersist: this.#messagesAfterPersist };
    // Also when empty: what was taken belongs to the taker and must not fill up later.
    this.#messages = [];
    this.#messagesAfterPersist = [];
    return taken;
  }
}
