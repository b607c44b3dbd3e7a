/**
 * The masters' agreement, live: who leads in which term, how far each one's journal is, what the last change of leader took, and
 * a way to bring one about.
 * @module
 */
import { useState } from "preact/hooks";
import type { FailoverStatus, MasterStatus, MemberStatus } from "../../web/api_types.ts";
import { sendJson } from "../api.ts";
import { Chart, rateOf, readingOf } from "../chart.tsx";
import {
  Badge,
  Card,
  Confirm,
  Facts,
  messageOf,
  Notice,
  useOutcome,
  WebLink,
} from "../components.tsx";
import { count, milliseconds, percent, plural, time } from "../format.ts";
import { addressAt, type Live, store } from "../store.ts";

function roleOf({ isLeader, isVoter, isAvailable }: MemberStatus) {
  if (isLeader) return <Badge mood="good">leader</Badge>;
  if (!isAvailable) return <Badge mood="bad">unreachable</Badge>;
  return <Badge mood="quiet">{isVoter ? "follower" : "learner"}</Badge>;
}

function Peer(props: {
  readonly member: MemberStatus;
  readonly master: MasterStatus;
  readonly canElect: boolean;
  readonly onElect: () => void;
}) {
  const { member, master, canElect, onElect } = props;
  const { isSelf, isLeader, isAvailable } = member;
  // Of one that was not heard in this reign nobody knows what it holds.
  const isKnown = isAvailable || (member.matchIndex ?? 0) > 0;
  const matchIndex = isKnown ? member.matchIndex : null;
  const lagEntries = isKnown ? member.lagEntries : null;
  return (
    <article class={`peer ${isLeader ? "leader" : ""}`} aria-label={`Master ${member.journal}`}>
      <header>
        {roleOf(member)} {isSelf ? <Badge mood="accent">this one</Badge> : null}
      </header>
      <h3>
        <WebLink web={member.web}>{member.rpc}</WebLink>
      </h3>
      <p class="quiet">journal {member.journal}</p>
      <div class="bar tall" aria-hidden="true">
        <span style={{ width: `${percent(matchIndex ?? 0, master.lastIndex)}%` }} />
      </div>
      <Facts
        pairs={[
          [
            "Holds through",
            matchIndex === null
              ? isKnown
                ? "only the leader knows"
                : "unknown"
              : count(matchIndex),
          ],
          ["Behind", lagEntries === null ? "–" : plural(lagEntries, "entry", "entries")],
          ...(isSelf
            ? ([
                ["Committed", count(master.commitIndex)],
                ["Applied", count(master.appliedIndex)],
              ] as const)
            : []),
        ]}
      />
      {canElect && !isLeader ? (
        <button type="button" onClick={onElect} disabled={!member.isAvailable || !member.isVoter}>
          Make it the leader
        </button>
      ) : null}
    </article>
  );
}

/** One after the other, as wide as they took. */
function Anatomy({ failover }: { readonly failover: FailoverStatus }) {
  const isOwn = failover.applyMs !== null;
  const all: readonly (readonly [string, number | null, string])[] = [
    ["silence", failover.silenceMs, "From the old leader's last word until it was missed"],
    ["campaign", failover.campaignMs, "Until this master stood for election"],
    [
      "votes",
      failover.votesMs,
      isOwn ? "Until a quorum had voted for it" : "Until the new leader was heard of",
    ],
    [
      "first entry",
      failover.applyMs,
      "Until the first entry of the term was applied, and it served",
    ],
  ];
  const steps = all.flatMap(([name, ms, meaning], at) =>
    ms === null ? [] : [{ name, ms, meaning, colour: `step-${at}` }],
  );
  return (
    <>
      <p>
        Term {count(failover.term)}: {failover.fromAddress ?? "nobody"} →{" "}
        <strong>{failover.toAddress ?? "nobody"}</strong>, over at {time(failover.endedMs)},{" "}
        <strong>{milliseconds(failover.totalMs)}</strong> in all
        {isOwn ? "." : ", as this standby saw it."}
      </p>
      <div
        class="anatomy"
        role="img"
        aria-label={steps.map(({ name, ms }) => `${name} ${milliseconds(ms)}`).join(", ")}
      >
        {steps.map(({ name, ms, colour }) => (
          <span
            key={name}
            class={`step ${colour}`}
            style={{ flexGrow: Math.max(ms, failover.totalMs / 100, 0.01) }}
          />
        ))}
      </div>
      <dl class="legend">
        {steps.map(({ name, ms, meaning, colour }) => (
          <div key={name}>
            <dt>
              <span class={`key ${colour}`} /> {name} <strong>{milliseconds(ms)}</strong>
            </dt>
            <dd class="quiet">{meaning}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

export function RaftPage({ live, master }: { readonly live: Live; readonly master: MasterStatus }) {
  const [asked, setAsked] = useState<MemberStatus | null>(null);
  const [outcome, setOutcome] = useOutcome();
  const hasActions = live.status?.settings.hasActions === true;
  const isLeader = master.role === "leader";
  const elect = async (member: MemberStatus) => {
    setAsked(null);
    setOutcome({ mood: "quiet", text: `Handing over to ${member.rpc}…` });
    try {
      await sendJson("/api/v1/master/elect", { address: member.journal });
      setOutcome({ mood: "good", text: `${member.rpc} leads now.` });
    } catch (error) {
      setOutcome({ mood: "bad", text: messageOf(error) });
    }
    await store.refresh();
  };
  return (
    <>
      {outcome === null ? null : <Notice mood={outcome.mood}>{outcome.text}</Notice>}
      <Card
        title="Members"
        aside={
          <span class="quiet">
            term <strong>{count(master.term)}</strong>, committed {count(master.commitIndex)},
            quorum {Math.floor(master.members.filter(({ isVoter }) => isVoter).length / 2) + 1} of{" "}
            {master.members.filter(({ isVoter }) => isVoter).length}
          </span>
        }
      >
        <div class="peers">
          {master.members.map((member) => (
            <Peer
              key={member.journal}
              member={member}
              master={master}
              canElect={isLeader && hasActions}
              onElect={() => setAsked(member)}
            />
          ))}
        </div>
        {isLeader || master.leader === null ? null : (
          <p class="quiet">
            How far the others are, and elections by click, are{" "}
            <a href={addressAt(master.leader.web)}>on the leader's page</a>.
          </p>
        )}
      </Card>
      <Card title="Last change of leader">
        {master.failover === null ? (
          <p class="quiet">None since this master started.</p>
        ) : (
          <Anatomy failover={master.failover} />
        )}
      </Card>
      <Card title="Journal">
        <div class="charts">
          <Chart
            title="Entries per second"
            history={live.history}
            lines={[
              {
                label: "committed",
                colour: "--plot-1",
                valueOf: rateOf("Master.EmbeddedJournalCommitIndex"),
              },
              {
                label: "applied",
                colour: "--plot-2",
                valueOf: rateOf("Master.JournalLastAppliedCommitIndex"),
              },
            ]}
            format={(value) => value.toFixed(1)}
          />
          <Chart
            title="Time of a sync to disk"
            history={live.history}
            lines={[
              {
                label: "median",
                colour: "--plot-1",
                valueOf: readingOf("Master.JournalFlushTimer.p50", 1000),
              },
              {
                label: "99 %",
                colour: "--plot-3",
                valueOf: readingOf("Master.JournalFlushTimer.p99", 1000),
              },
            ]}
            format={milliseconds}
          />
        </div>
        <Facts
          pairs={[
            ["Folder", <code key="folder">{master.journalFolder}</code>],
            ["Last entry", count(master.lastIndex)],
            ["Committed", count(master.commitIndex)],
            ["Applied", count(master.appliedIndex)],
            [
              "Checkpoint",
              master.checkpoint === null
                ? "none yet"
                : `through ${count(master.checkpoint.index)}, ${time(master.checkpoint.timeMs)}`,
            ],
            [
              "Led since",
              isLeader && master.lastGainedMs !== null ? time(master.lastGainedMs) : "–",
            ],
            ["Last lost", master.lastLostMs === null ? "never" : time(master.lastLostMs)],
          ]}
        />
      </Card>
      {asked === null ? null : (
        <Confirm
          title="Change the leader"
          action="Hand over"
          onCancel={() => setAsked(null)}
          onConfirm={() => void elect(asked)}
        >
          <p>
            <strong>{asked.rpc}</strong> becomes the leader. Clients go on by themselves; calls wait
            for some tens of milliseconds.
          </p>
        </Confirm>
      )}
    </>
  );
}
