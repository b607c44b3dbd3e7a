/**
 * Bugs for the simulator to find: each replaces one piece of one source of the product, or some (`also`), which must be there
 * exactly once. `npm run sim -- --planted` looks for the first seed at which a checker that is meant to see the bug does; they
 * are the proof that the checkers can fail. `shows` names these checkers (docs/TESTING.md); by default all but two: that a
 * cluster does not get on (I8), and what the product finds out by itself (BUG), count only where that is what the bug does.
 */
export const SAFETY = ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I9", "I11", "I13"];

const core = "src/raft/core.ts";
const reign = "src/raft/reign.ts";
const log = "src/raft/log.ts";
const wal = "src/journal/wal.ts";

export const PLANTED_BUGS = [
  // Those that show soonest come first.
  {
    name: "skipFsync",
    file: "src/journal/file_system.ts",
    find: "    await file.datasync();\n  } catch (cause) {",
    replace: "    await file.sizeSync();\n  } catch (cause) {",
  },
  {
    name: "durableBeforeSync",
    file: wal,
    find: "    await this.#writeDurably(segment, descriptor === null ? [batchPart] : [descriptor, batchPart]);\n    this.#noteDurable(segment, bytes.length);",
    replace:
      "    this.#noteDurable(segment, bytes.length);\n    void this.#writeDurably(segment, descriptor === null ? [batchPart] : [descriptor, batchPart]);",
  },
  {
    name: "voteBeforeDurable",
    file: core,
    find: "    this.#outbox.sendAfterPersist(candidate, this.#term, body);",
    replace: "    this.#outbox.send(candidate, this.#term, body);",
  },
  {
    name: "commitByOneLess",
    file: "src/raft/quorum.ts",
    find: "return Math.floor(voterCount / 2) + 1;",
    replace: "return Math.ceil(voterCount / 2) - (voterCount === 5 ? 1 : 0);",
  },
  {
    name: "reusedReadId",
    shows: ["BUG"],
    file: "src/journal/waiting.ts",
    find: "    this.#context += 1;\n    this.#asked.set(this.#context, this.#queued);",
    replace:
      "    this.#context = Math.max(1, this.#context);\n    this.#asked.set(this.#context, this.#queued);",
  },
  {
    name: "forgetVote",
    file: wal,
    find: "return { ...this.#hardState, commitIndex };",
    replace: "return { ...this.#hardState, vote: null, commitIndex };",
  },
  {
    name: "voteTwice",
    file: core,
    find: "return this.#vote === candidate || (this.#vote === null && this.#leaderOfTerm === null);",
    replace: "void candidate; return true;",
  },
  {
    name: "ackBeforeDurable",
    file: core,
    find: 'this.#outbox.sendAfterPersist(leader, this.#term, { kind: "appendAccepted", matchIndex });',
    replace: 'this.#outbox.send(leader, this.#term, { kind: "appendAccepted", matchIndex });',
  },
  {
    name: "appendWithoutPrevCheck",
    file: core,
    find: "if (known === 0 && !log.has(prevLogIndex, prevLogTerm)) {",
    replace: "if (known === 0 && prevLogIndex > log.lastIndex) {",
  },
  {
    name: "commitBehindMatch",
    file: reign,
    find: "commitIndex: Math.min(peer.matchIndex, this.#log.commitIndex),",
    replace: "commitIndex: this.#log.commitIndex,",
  },
  {
    name: "dedupeNotReplicated",
    file: "src/master/proposer.ts",
    find: "      operationId,\n      principal: { user, groups, isSuperuser },",
    replace: "      operationId: null,\n      principal: { user, groups, isSuperuser },",
  },
  {
    name: "positionAfterTheRows",
    file: "src/master/state_machine.ts",
    find: "      transaction.put(POSITION_KEY, positionRow.encode(row));\n      return editor.flush();\n    });",
    replace:
      "      void row;\n      return editor.flush();\n    });\n    store.transact((transaction) => transaction.put(POSITION_KEY, positionRow.encode({ schemaVersion: STORE_SCHEMA_VERSION, ...reached })));",
  },
  {
    name: "checkpointNotSynced",
    file: "src/journal/checkpoint_file.ts",
    find: "  await writeFully(file, encodeSeal(manifest, crc32c), imageBytes);\n  await file.datasync();",
    replace: "  await writeFully(file, encodeSeal(manifest, crc32c), imageBytes);",
  },
  {
    name: "voteForOlderLog",
    file: log,
    find: "return one.term > other.term || (one.term === other.term && one.index >= other.index);",
    replace: "return one.index >= other.index;",
  },
  {
    name: "learnerCountsForCommit",
    file: reign,
    find: "      const index = majorityValue(this.#membership.voters, (voter) =>\n",
    replace:
      "      const index = majorityValue([...this.#membership.voters.slice(this.#membership.learners.length), ...this.#membership.learners], (voter) =>\n",
  },
  {
    // The main thread does not serve before an entry of the term is applied, which would hide it: both are off.
    name: "readBeforeOwnTerm",
    file: reign,
    find: "this.#reads.ask(context, this.#isTermCommitted() ? this.#log.commitIndex : null);\n    if (this.#isTermCommitted()) this.#askQuorum();",
    replace: "this.#reads.ask(context, this.#log.commitIndex);\n    this.#askQuorum();",
    also: [
      {
        file: "src/journal/raft_journal.ts",
        find: "if (!isSameReign) this.#endReign();",
        replace:
          'if (!isSameReign) this.#endReign();\n    if (softState.role === "leader" && this.#servingTerm === null) this.#beginServing(softState.term);',
      },
    ],
  },
  {
    name: "readWithoutBarrier",
    file: "src/master/file_system_master.ts",
    find: "    await this.#begin();\n    await this.#journal.readBarrier();\n  }",
    replace: "    await this.#begin();\n  }",
  },
  {
    name: "trimBehindASnapshot",
    shows: ["BUG"],
    file: wal,
    find: "    if (index < this.firstIndex()) return;\n",
    replace: "",
  },
  {
    name: "readWithoutQuorum",
    file: reign,
    find: "        ? Number.POSITIVE_INFINITY\n        : (this.#peers.get(voter)?.readContext ?? 0),",
    replace: "        ? Number.POSITIVE_INFINITY\n        : Number.POSITIVE_INFINITY,",
  },
  {
    name: "wipedDiskKeepsItsId",
    file: "src/journal/founding.ts",
    find: 'knownAs === "same" && isSameGroup',
    replace: "isSameGroup",
  },
  {
    // The loop looks once more whether a checkpoint is newer than the state, which would hide it: both are off.
    name: "snapshotTakesBack",
    file: core,
    find: "if (log.commitIndex >= index || log.has(index, term)) {",
    replace: "if (log.commitIndex === index) {",
    also: [
      {
        file: "src/journal/session_loop.ts",
        find: "const isNews = checkpoint.snapshot.index > delivery.deliveredIndex;",
        replace: "const isNews = checkpoint.snapshot.index > 0;",
      },
    ],
  },
  {
    name: "readByOlderHeartbeat",
    file: reign,
    find: "peer.readContext = Math.max(peer.readContext, readContext);",
    replace: "peer.readContext = this.#reads.pendingContext; void readContext;",
  },
  {
    // Who waits is rejected at the end of a reign, which would hide it: both are off.
    name: "answerForAnotherEntry",
    file: "src/journal/waiting.ts",
    find: "if (head.term !== term) this.#rejectUntil(head, end, overwritten);",
    replace: "if (head.term > term) this.#rejectUntil(head, end, overwritten);",
    also: [
      {
        file: "src/journal/raft_journal.ts",
        find: "    this.#proposals.rejectAll(error);\n",
        replace: "",
      },
    ],
  },
  {
    name: "skipDedupe",
    file: "src/master/apply.ts",
    find: "if (first !== null) return { isOk: true, ...first };",
    replace: "if (first !== null && key === null) return { isOk: true, ...first };",
  },
  {
    name: "orphansWithoutGrace",
    file: "src/master/block_master.ts",
    find: "if (now - sinceMs < this.#options.orphanGraceMs || looked === FREES_PER_REPLY) break;",
    replace: "if (sinceMs > now || looked === FREES_PER_REPLY) break;",
  },
  {
    name: "twoMembershipsAtOnce",
    shows: ["BUG", "I3", "I4"],
    file: reign,
    find: 'if (this.#log.isMembershipPending) return "pending";',
    replace: 'if (this.#log.lastIndex < 0) return "pending";',
  },
  {
    name: "truncateDamaged",
    file: "src/journal/wal_recovery.ts",
    find: "  const hole = log.hole ?? holeAtEnd(walk, log, survey);\n  if (hole !== null)",
    replace:
      "  const hole = log.hole ?? holeAtEnd(walk, log, survey);\n  if (hole !== null && log.hole !== null)",
  },
  {
    name: "leaderForEver",
    shows: ["I8"],
    file: reign,
    find: "return this.#now - heardQuorumAt < timeoutTicks;",
    replace: "return this.#now - heardQuorumAt < timeoutTicks || true;",
  },
  {
    name: "ignorePromised",
    file: log,
    find: "(this.#promised === null || isAtOrBehind(other, this.#promised))",
    replace: "true",
  },
  {
    name: "damagedCheckpointIsServed",
    shows: ["I8"],
    file: "src/journal/checkpoint_store.ts",
    find: "if (offsetBytes === 0 && !(await this.#isSound(found))) return null;",
    replace: "if (offsetBytes < 0 && !(await this.#isSound(found))) return null;",
  },
  {
    name: "commitOldTerm",
    file: reign,
    find: "if (index <= this.#log.commitIndex || !this.#log.has(index, this.#term)) return;",
    replace: "if (index <= this.#log.commitIndex) return;",
  },
  {
    name: "promiseTooLittle",
    file: "src/journal/wal_recovery.ts",
    find: "const promised = mark.promised !== null && isAtLeast(mark.promised, last) ? mark.promised : last;",
    replace: "const promised = prefix; void isAtLeast;",
  },
  {
    name: "nothingToOfferAfterACut",
    shows: ["I8"],
    file: "src/journal/state_keeper.ts",
    find: "const isLacking = this.#options.logBegin() > (this.snapshot()?.index ?? 0);",
    replace: "const isLacking = this.#options.logBegin() < 0;",
  },
  {
    name: "resumedWithoutRewriting",
    file: "src/journal/checkpoint_store.ts",
    find: "      await rewrite(file);\n",
    replace: "",
  },
];
