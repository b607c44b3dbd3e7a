/**
 * Virtual time: one queue of events for the whole simulated world, run one after the other.
 *
 * - An event belongs to a lane: one thread of one simulated process, or nobody. What a dead lane was to do is dropped;
 *   what a paused one was to do waits, in order, until it goes on.
 * - After each event everything that the product left to promises runs to its end, and only then comes the next: each
 *   event is an immediate of its own, and Node empties the queue of microtasks between two of them.
 * - Whatever happens goes into one hash, in order: two runs of a seed that differ anywhere give different hashes.
 * @module
 */
import { hashText } from "./random.ts";

/** A machine: what stays when its processes die. */
export class Host {
  readonly name: string;
  /** False: without power. Nobody answers from there, not even with a refusal. */
  isUp = true;

  constructor(name: string) {
    this.name = name;
  }
}

/** One thread of a simulated process. */
export class Lane {
  readonly name: string;
  readonly host: Host;
  readonly id: number;
  isAlive = true;
  isPaused = false;
  /** What came while it was paused. */
  backlog: SimEvent[] = [];
  /** To be called, once, when it goes on. */
  onResume: (() => void)[] = [];

  constructor(name: string, host: Host) {
    this.name = name;
    this.host = host;
    this.id = hashText(name);
  }
}

export class SimEvent {
  readonly atMs: number;
  readonly order: number;
  readonly lane: Lane | null;
  readonly label: string;
  act: (() => void) | null;

  constructor(atMs: number, order: number, lane: Lane | null, label: string, act: () => void) {
    this.atMs = atMs;
    this.order = order;
    this.lane = lane;
    this.label = label;
    this.act = act;
  }

  cancel(): void {
    this.act = null;
  }
}

/** Unwinds what a simulated process was doing when it was made to die in the middle of it. */
export class SimCrash extends Error {
  override readonly name = "SimCrash";
}

/** Immediates that are asked for at once; more only cost memory. */
const IMMEDIATES = 256;
const LINES_KEPT = 3000;

export class Scheduler {
  nowMs = 0;
  eventCount = 0;
  hash = 0x811c9dc5;
  current: Lane | null = null;
  /** Set by a checker or by what the product threw; ends the run. */
  failure: Error | null = null;
  onLine: ((line: string) => void) | null = null;
  #heap: SimEvent[] = [];
  #order = 0;
  #lines: string[] = [];
  #lineAt = 0;

  at(atMs: number, lane: Lane | null, label: string, act: () => void): SimEvent {
    this.#order += 1;
    const event = new SimEvent(Math.max(atMs, this.nowMs), this.#order, lane, label, act);
    this.#push(event);
    return event;
  }

  after(delayMs: number, lane: Lane | null, label: string, act: () => void): SimEvent {
    return this.at(this.nowMs + delayMs, lane, label, act);
  }

  pause(lane: Lane): void {
    lane.isPaused = true;
  }

  resume(lane: Lane): void {
    lane.isPaused = false;
    const { backlog } = lane;
    lane.backlog = [];
    for (const { label, act } of backlog) if (act !== null) this.at(this.nowMs, lane, label, act);
    const { onResume } = lane;
    lane.onResume = [];
    for (const listener of onResume) listener();
  }

  fail(error: Error): void {
    this.failure ??= error;
  }

  /** Part of the trace: shown when the run fails, and hashed. */
  note(text: string): void {
    this.hash = hashText(text, this.hash);
    const line = `${this.nowMs.toFixed(3).padStart(11)} ${text}`;
    this.onLine?.(line);
    this.#lines[this.#lineAt % LINES_KEPT] = line;
    this.#lineAt += 1;
  }

  /** Numbers that go into the hash only. */
  mix(value: number): void {
    this.hash = Math.imul(this.hash ^ value, 0x01000193) >>> 0;
  }

  lastLines(count: number): string[] {
    const lines: string[] = [];
    for (let at = Math.max(0, this.#lineAt - count); at < this.#lineAt; at++)
      lines.push(this.#lines[at % LINES_KEPT] ?? "");
    return lines;
  }

  /** Runs events until `isDone`, a failure, or until there are none; `isDone` is asked before each of them. */
  run(isDone: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      let isOver = false;
      const turn = () => {
        if (isOver) return;
        try {
          if (this.failure === null && !isDone() && this.#step()) return;
        } catch (error) {
          isOver = true;
          reject(error);
          return;
        }
        isOver = true;
        this.current = null;
        resolve();
      };
      const batch = () => {
        turn();
        for (let at = 1; at < IMMEDIATES && !isOver; at++) setImmediate(turn);
        if (!isOver) setImmediate(batch);
      };
      setImmediate(batch);
    });
  }

  /** @returns false when there is nothing left to do */
  #step(): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === null) return false;
      const { act, lane } = event;
      if (act === null || lane?.isAlive === false) continue;
      this.nowMs = Math.max(this.nowMs, event.atMs);
      if (lane?.isPaused === true) {
        lane.backlog.push(event);
        continue;
      }
      event.act = null;
      this.eventCount += 1;
      this.current = lane;
      this.mix((lane?.id ?? 0) ^ Math.trunc(this.nowMs * 1000));
      if (this.onLine !== null && lane !== null)
        this.onLine(`${this.nowMs.toFixed(3).padStart(11)}   · ${lane.name} ${event.label}`);
      try {
        act();
      } catch (error) {
        if (!(error instanceof SimCrash)) throw error;
      }
      return true;
    }
  }

  #isBefore(one: SimEvent, other: SimEvent): boolean {
    return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order);
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = heap[parent] as SimEvent; // within the heap
      if (!this.#isBefore(event, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): SimEvent | null {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined) return null;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (left === undefined) break;
      const right = heap[child + 1];
      if (right !== undefined && this.#isBefore(right, left)) child += 1;
      const least = heap[child] as SimEvent; // one of the two
      if (!this.#isBefore(least, last)) break;
      heap[at] = least;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}
