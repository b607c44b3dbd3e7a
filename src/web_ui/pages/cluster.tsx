/**
 * Who and what the cluster consists of: workers, masters, mounts.
 * @module
 */
import type { MasterStatus, MemberStatus, WorkerSummary } from "../../web/api_types.ts";
import { Badge, Card, type Column, Table, Usage, WebLink } from "../components.tsx";
import { count, duration, plural, size } from "../format.ts";
import { sum } from "./overview.tsx";

const WORKER_COLUMNS: readonly Column<WorkerSummary>[] = [
  { head: "Address", cell: ({ web, rpc }) => <WebLink web={web}>{rpc}</WebLink> },
  {
    head: "State",
    cell: ({ state }) => (
      <Badge mood={state === "live" ? "good" : state === "lost" ? "bad" : "quiet"}>{state}</Badge>
    ),
  },
  {
    head: "Last heard",
    isNumber: true,
    cell: ({ sinceContactMs }) => `${duration(sinceContactMs)} ago`,
  },
  {
    head: "Cached",
    cell: ({ tiers }) => (
      <Usage usedBytes={sum(tiers, "usedBytes")} capacityBytes={sum(tiers, "capacityBytes")} />
    ),
  },
  { head: "Blocks", isNumber: true, cell: ({ blockCount }) => count(blockCount) },
  { head: "Version", cell: ({ version }) => version },
];

export function WorkersPage({ master }: { readonly master: MasterStatus }) {
  const of = (state: WorkerSummary["state"]) =>
    master.workers.filter((each) => each.state === state);
  const groups = [
    ["Live", of("live"), "No worker is registered."],
    ["Lost", of("lost"), "No worker was lost."],
    ["Decommissioned", of("decommissioned"), "No worker was taken out of service."],
  ] as const;
  return (
    <>
      {groups.map(([title, rows, empty]) => (
        <Card key={title} title={`${title} (${rows.length})`}>
          <Table
            label={`${title} workers`}
            rows={rows}
            columns={WORKER_COLUMNS}
            keyOf={({ rpc }) => rpc}
            empty={empty}
          />
        </Card>
      ))}
    </>
  );
}

const MASTER_COLUMNS: readonly Column<MemberStatus>[] = [
  {
    head: "Address",
    cell: ({ web, rpc, isSelf }) => (
      <>
        <WebLink web={web}>{rpc}</WebLink> {isSelf ? <Badge mood="accent">this one</Badge> : null}
      </>
    ),
  },
  {
    head: "State",
    cell: ({ isLeader, isAvailable, isVoter }) =>
      isLeader ? (
        <Badge mood="good">primary</Badge>
      ) : isAvailable ? (
        <Badge mood="quiet">{isVoter ? "standby" : "learner"}</Badge>
      ) : (
        <Badge mood="bad">lost</Badge>
      ),
  },
  { head: "Web", cell: ({ web }) => web },
  { head: "Journal", cell: ({ journal }) => journal },
  {
    head: "Behind",
    isNumber: true,
    cell: ({ lagEntries }) => (lagEntries === null ? "–" : plural(lagEntries, "entry", "entries")),
  },
];

export function MastersPage({ master }: { readonly master: MasterStatus }) {
  const others = master.members.filter(({ isLeader }) => !isLeader);
  const groups = [
    ["Primary", master.members.filter(({ isLeader }) => isLeader), "No master leads."],
    ["Standby", others.filter(({ isAvailable }) => isAvailable), "There is no standby."],
    ["Lost", others.filter(({ isAvailable }) => !isAvailable), "All masters are there."],
  ] as const;
  return (
    <>
      {groups.map(([title, rows, empty]) => (
        <Card key={title} title={`${title} (${rows.length})`}>
          <Table
            label={`${title} masters`}
            rows={rows}
            columns={MASTER_COLUMNS}
            keyOf={({ journal }) => journal}
            empty={empty}
          />
        </Card>
      ))}
    </>
  );
}

export function MountsPage({ master }: { readonly master: MasterStatus }) {
  return (
    <Card title={`Mount table (${master.mounts.length})`}>
      <Table
        label="Mounts"
        rows={master.mounts}
        keyOf={({ path }) => path}
        columns={[
          { head: "Path", cell: ({ path }) => <code>{path}</code> },
          { head: "Under store", cell: ({ ufsUri }) => <code>{ufsUri}</code> },
          { head: "Type", cell: ({ type }) => type },
          {
            head: "Room",
            cell: ({ usedBytes, capacityBytes }) => (
              <Usage usedBytes={usedBytes} capacityBytes={capacityBytes} />
            ),
          },
          {
            head: "Free",
            isNumber: true,
            cell: ({ usedBytes, capacityBytes }) =>
              capacityBytes < 0 ? "–" : size(capacityBytes - usedBytes),
          },
          {
            head: "Access",
            cell: ({ isReadOnly, isShared }) =>
              `${isReadOnly ? "read only" : "read and write"}, ${isShared ? "shared" : "not shared"}`,
          },
        ]}
      />
    </Card>
  );
}
