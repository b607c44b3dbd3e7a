/**
 * Who chooses the leader among masters that share a journal. It need not be right: two who believe that they were chosen collide
 * in the log (ufs_log.ts). It decides how soon another one is chosen, and whether reads may be answered without asking the store.
 * @module
 */

export type Candidate = {
  /** host:port of the master's RPC port, as it is told to clients. */
  readonly address: string;
  readonly isSelf: boolean;
  /** Chosen; it may not serve yet. */
  readonly isChosen: boolean;
};

export type ElectorListener = {
  /** This master was chosen. Called once a reign. */
  readonly onChosen: () => void;
  /** It may be chosen no more: its session ended. Also after `resign`. It stands again by itself. */
  readonly onDeposed: (reason: string) => void;
  /** The candidates, or who is chosen, have changed. */
  readonly onCandidates: () => void;
};

export interface Elector {
  /**
   * Stands for election from now on.
   * @throws RockpoolError UNAVAILABLE when no server answers within the connection timeout, with their addresses
   */
  start(listener: ElectorListener): Promise<void>;
  /** Whether this master is chosen, and nobody else can be before `marginMs` are over, by its own clocks. Cheap; ask right before each act. */
  isChosenFor(marginMs: number): boolean;
  /** The chosen one serves now: clients are told. */
  announce(): Promise<void>;
  /** Lets another one be chosen, if there is any, and stands again behind it. */
  resign(): Promise<void>;
  candidates(): readonly Candidate[];
  /** Stands no more; another one is chosen at once. */
  close(): Promise<void>;
}
