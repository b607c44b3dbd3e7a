/**
 * The status pages of masters and workers, and the small answers for scripts.
 *
 * `/healthz`: 200 while the process can do its duty: a leader that serves, a standby that hears a
 * leader, a worker that a master knows; else 503. `/leader`: where the leader is, 503 when there is none.
 * @module
 */
import {
  type Badge,
  duration,
  facts,
  type Html,
  html,
  page,
  section,
  table,
  usage,
  webLink,
} from "./html.ts";
import {
  html as htmlReply,
  json,
  plainText,
  redirect,
  type WebHandler,
  type WebReply,
} from "./server.ts";
import type {
  Leader,
  MasterSource,
  MasterStatus,
  ProcessStatus,
  Scrape,
  TierStatus,
  WorkerSource,
  WorkerStatus,
} from "./status.ts";

const sum = (tiers: readonly TierStatus[], field: "capacityBytes" | "usedBytes") =>
  tiers.reduce((total, tier) => total + tier[field], 0);
const tierUsage = (tiers: readonly TierStatus[]) =>
  usage(sum(tiers, "usedBytes"), sum(tiers, "capacityBytes"));

export function masterCanServe(status: MasterStatus): boolean {
  return status.role === "leader" ? status.isServing : status.leader !== null;
}

function roleText(status: MasterStatus): string {
  if (status.role !== "leader") return status.role === "candidate" ? "candidate" : "standby";
  return status.isServing ? "leader" : "taking over";
}

function leaderLink(leader: Leader | null): Html {
  if (leader === null) return html`<span class="bad">none</span>`;
  return html`${webLink(leader.web, leader.rpc)}`;
}

function processFacts(
  status: ProcessStatus,
  leader: Leader | null,
): [string, Html | string | number][] {
  return [
    ["Address", status.rpc],
    ["Leader", leaderLink(leader)],
    ["Started", new Date(status.startedMs).toISOString()],
    ["Uptime", duration(status.uptimeMs)],
    ["Version", status.version],
  ];
}

const stateOf = (isGood: boolean, good: string, bad: string) =>
  isGood ? html`<span class="good">${good}</span>` : html`<span class="bad">${bad}</span>`;

export function masterPage(status: MasterStatus): string {
  const live = status.workers.filter((worker) => worker.isLive);
  const tiers = live.flatMap((worker) => worker.tiers);
  const badge: Badge = { text: roleText(status), mood: masterCanServe(status) ? "good" : "bad" };
  return page(`Rockpool master ${status.rpc}`, badge, [
    section(
      "This master",
      facts([
        ...processFacts(status, status.leader),
        ["Term", status.term],
        ["Committed, applied", `${status.commitIndex}, ${status.appliedIndex}`],
        ["Cached", tierUsage(tiers)],
      ]),
    ),
    section(
      "Masters",
      table(
        ["Address", "Role", "State", "Journal", "Behind"],
        status.members.map((member) => [
          html`${webLink(member.web, member.rpc)}${member.isSelf ? " (this one)" : ""}`,
          member.isLeader ? "leader" : member.isVoter ? "standby" : "learner",
          stateOf(member.isAvailable, "available", "unavailable"),
          member.journal,
          member.lagEntries === null ? "" : member.lagEntries,
        ]),
      ),
    ),
    section(
      `Workers (${live.length} live, ${status.workers.length - live.length} lost)`,
      table(
        ["Address", "State", "Last heard", "Cached", "Blocks"],
        status.workers.map((worker) => [
          webLink(worker.web, worker.rpc),
          stateOf(worker.isLive, "live", "lost"),
          `${duration(worker.sinceContactMs)} ago`,
          tierUsage(worker.tiers),
          worker.blockCount,
        ]),
      ),
    ),
    section(
      "Mounts",
      table(
        ["Path", "Under store", "Type", "Access"],
        status.mounts.map((mount) => [
          mount.path,
          mount.ufsUri,
          mount.type,
          mount.isReadOnly ? "read only" : "read and write",
        ]),
      ),
    ),
  ]);
}

export function workerPage(status: WorkerStatus, leader: Leader | null): string {
  const badge: Badge = status.isRegistered
    ? { text: "worker", mood: "good" }
    : { text: "no master knows it", mood: "bad" };
  return page(`Rockpool worker ${status.rpc}`, badge, [
    section("This worker", facts([...processFacts(status, leader), ["Blocks", status.blockCount]])),
    section(
      "Tiers",
      table(
        ["Tier", "Cached"],
        status.tiers.map((tier) => [tier.alias, tierUsage([tier])]),
      ),
    ),
  ]);
}

function leaderReply(leader: Leader | null): WebReply {
  return leader === null
    ? json({ leader: null, web: null }, 503)
    : json({ leader: leader.rpc, web: leader.web });
}

async function commonReply(
  path: string,
  source: { readonly scrape: () => Promise<Scrape> },
  leader: () => Leader | null | Promise<Leader | null>,
): Promise<WebReply | null> {
  if (path === "/leader") return leaderReply(await leader());
  if (path === "/metrics/prometheus") return redirect("/metrics/prometheus/");
  if (path !== "/metrics/prometheus/") return null;
  const { text, contentType } = await source.scrape();
  return { status: 200, contentType, body: text };
}

const NO_PAGE = plainText(404, "The status page is off (alluxio.web.ui.enabled=false)");

export function masterHandler(source: MasterSource): WebHandler {
  return (path) => {
    if (path === "/")
      return source.isPageEnabled ? htmlReply(masterPage(source.status())) : NO_PAGE;
    if (path !== "/healthz") return commonReply(path, source, () => source.status().leader);
    const status = source.status();
    const { role, isServing, term, leader } = status;
    return json(
      {
        status: masterCanServe(status) ? "ok" : "unavailable",
        role,
        isServing,
        term,
        leader: leader?.rpc ?? null,
      },
      masterCanServe(status) ? 200 : 503,
    );
  };
}

export function workerHandler(source: WorkerSource): WebHandler {
  return async (path) => {
    if (path === "/")
      return source.isPageEnabled
        ? htmlReply(workerPage(source.status(), await source.leader()))
        : NO_PAGE;
    if (path !== "/healthz") return commonReply(path, source, source.leader);
    const { isRegistered } = source.status();
    return json(
      { status: isRegistered ? "ok" : "unavailable", role: "worker", isRegistered },
      isRegistered ? 200 : 503,
    );
  };
}
