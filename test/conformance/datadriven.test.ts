import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDatadriven } from "./datadriven.ts";
import { etcdMessage } from "./etcd_words.ts";
import { runInteraction } from "./interaction.ts";

const SCRIPT = `# A comment.
add-nodes 3 voters=(1, 2,3) index=10
----
ok

propose-conf-change 1 v1=true
v4
----
----
one line

behind an empty one
----
----

propose 1 "quoted"
----
ok
`;

test("parseDatadriven() gives commands, arguments, options, input and output", () => {
  const [nodes, change, propose, ...others] = parseDatadriven(SCRIPT);
  assert.equal(others.length, 0);
  assert.deepEqual([nodes?.line, nodes?.command, nodes?.args], [2, "add-nodes", ["3"]]);
  assert.deepEqual(nodes?.options.get("voters"), ["1", "2", "3"]);
  assert.deepEqual(nodes?.options.get("index"), ["10"]);
  assert.deepEqual([change?.input, change?.expected], ["v4", "one line\n\nbehind an empty one"]);
  assert.deepEqual([propose?.args, propose?.expected], [["1", '"quoted"'], "ok"]);
});

test("parseDatadriven() refuses what has no end", () => {
  assert.throws(() => parseDatadriven("campaign 1\n"), /Line 1/);
  assert.throws(() => parseDatadriven("campaign 1\n----\n----\nfor ever\n"), /Line 1/);
});

test("etcdMessage() reads messages of one line and of several", () => {
  const table: [lines: string[], text: string | null][] = [
    [["1->2 MsgVote Term:1 Log:1/10"], "1->2 Vote 1 log b/10"],
    [["dropped: 3->1 MsgAppResp Term:1 Log:1/14 Rejected (Hint: 11)"], "3->1 AppResp 1 no 14"],
    [
      ['1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[1/12 EntryNormal "a"]'],
      '1->2 App 1 log 1/11 commit 11 [1/12 "a"]',
    ],
    [
      [
        "  1->2 MsgApp Term:1 Log:1/11 Commit:11 Entries:[",
        '    1/12 EntryNormal ""',
        "    1/13 EntryConfChange v4",
        "  ]",
      ],
      "1->2 App 1 log 1/11 commit 11 [1/12 noop, 1/13 config]",
    ],
    [
      [
        "1->AppendThread MsgStorageAppend Term:1 Log:0/0 Commit:10 Vote:1 Responses:[",
        "  1->1 MsgVoteResp Term:1 Log:0/0",
        "]",
      ],
      null,
    ],
  ];
  for (const [lines, text] of table) {
    const { text: found, next } = etcdMessage(lines, 0, 10);
    assert.deepEqual([found, next], [text, lines.length]);
  }
});

const ELECTION = `add-nodes 3 voters=(1,2,3) index=2
----
INFO 1 switched to configuration voters=(1 2 3)

campaign 1
----
INFO 1 became candidate at term 1

log-level none
----
ok

stabilize
----
ok

log-level info
----
ok

raft-state
----
1: StateLeader (Voter) Term:1 Lead:1
2: StateFollower (Voter) Term:1 Lead:1
3: StateFollower (Voter) Term:1 Lead:1
`;

test("runInteraction() counts what it compares, and tells each difference", () => {
  const settings = { losesSuperseded: false };
  const good = runInteraction(ELECTION, settings);
  assert.deepEqual(good.differences, []);
  assert.ok(good.facts >= 15, `${good.facts} facts`);
  const wrong = ELECTION.replace(
    "2: StateFollower (Voter) Term:1",
    "2: StateFollower (Non-Voter) Term:7",
  );
  const { differences } = runInteraction(wrong, settings);
  assert.deepEqual(
    differences.map(({ what }) => what),
    ["2 standing", "2 term"],
  );
});
