/**
 * The pages of a master or a worker: the frame around them, and which page is shown.
 * @module
 */
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { MasterStatus, StatusDocument } from "../web/api_types.ts";
import { Badge, type Mood, Notice } from "./components.tsx";
import { duration } from "./format.ts";
import { BrowsePage, DataPage } from "./pages/browse.tsx";
import { MastersPage, MountsPage, WorkersPage } from "./pages/cluster.tsx";
import { MetricsPage } from "./pages/metrics.tsx";
import { MasterOverview, WorkerOverview } from "./pages/overview.tsx";
import { BlocksPage, ConfigurationPage, LogsPage } from "./pages/process.tsx";
import { RaftPage } from "./pages/raft.tsx";
import { hrefOf, type Route, useRoute } from "./router.ts";
import { addressAt, type Live, store, useLive } from "./store.ts";
import { applyTheme, initialTheme, type Theme } from "./theme.ts";

type Pages = readonly (readonly [page: string, name: string])[];

const MASTER_PAGES: Pages = [
  ["overview", "Overview"],
  ["browse", "Browse"],
  ["data", "In-Alluxio data"],
  ["workers", "Workers"],
  ["masters", "Masters"],
  ["raft", "Raft"],
  ["mounts", "Mounts"],
  ["configuration", "Configuration"],
  ["logs", "Logs"],
  ["metrics", "Metrics"],
];
const WORKER_PAGES: Pages = [
  ["overview", "Overview"],
  ["blocks", "Blocks"],
  ["configuration", "Configuration"],
  ["logs", "Logs"],
  ["metrics", "Metrics"],
];

function roleOf({ role, isServing }: MasterStatus): { readonly text: string; readonly mood: Mood } {
  if (role === "candidate") return { text: "candidate", mood: "warn" };
  if (role === "follower") return { text: "standby", mood: "quiet" };
  return isServing ? { text: "leader", mood: "good" } : { text: "taking over", mood: "warn" };
}

function ThemeChoice() {
  const [theme, setTheme] = useState<Theme>(initialTheme);
  useEffect(() => applyTheme(theme), [theme]);
  return (
    <fieldset class="choice theme">
      <legend class="visually-hidden">Colours</legend>
      {(["auto", "light", "dark"] as const).map((each) => (
        <label key={each}>
          <input
            type="radio"
            name="theme"
            checked={theme === each}
            onChange={() => setTheme(each)}
          />
          {each}
        </label>
      ))}
    </fieldset>
  );
}

function Navigation({ pages, current }: { readonly pages: Pages; readonly current: string }) {
  return (
    <nav class="main-nav" aria-label="Pages">
      <ul>
        {pages.map(([page, name]) => (
          <li key={page}>
            <a href={hrefOf(page)} aria-current={page === current ? "page" : undefined}>
              {name}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** That the process does not answer, or is not the one to ask. */
function Banners({ live }: { readonly live: Live }) {
  const { status, silentSinceMs, nextLeader } = live;
  if (silentSinceMs !== null) {
    const silence = duration(Date.now() - silentSinceMs);
    return (
      <Notice mood="bad">
        {location.host} does not answer for {silence}.{" "}
        {nextLeader === null ? (
          "Asking again…"
        ) : (
          <>
            The leader is <a href={addressAt(nextLeader.web)}>{nextLeader.web}</a>
            {status?.kind === "master" ? "; this page goes on there." : "."}
          </>
        )}
      </Notice>
    );
  }
  if (status?.kind !== "master") return null;
  const { leader, role } = status.master;
  if (leader === null)
    return <Notice mood="warn">No master leads at this moment: an election is under way.</Notice>;
  if (role === "leader") return null;
  return (
    <Notice mood="quiet">
      This master is a standby and shows its own state. The leader is{" "}
      <a href={addressAt(leader.web)}>{leader.web}</a>.
    </Notice>
  );
}

function Page({
  live,
  status,
  route,
}: {
  readonly live: Live;
  readonly status: StatusDocument;
  readonly route: Route;
}) {
  const { kind, settings } = status;
  const { page, query } = route;
  switch (page) {
    case "configuration":
      return <ConfigurationPage kind={kind} />;
    case "logs":
      return <LogsPage kind={kind} query={query} hasActions={settings.hasActions} />;
    case "metrics":
      return <MetricsPage live={live} />;
    default:
  }
  if (status.kind === "worker")
    return page === "blocks" ? (
      <BlocksPage query={query} />
    ) : (
      <WorkerOverview live={live} worker={status.worker} />
    );
  const { master } = status;
  switch (page) {
    case "browse":
      return <BrowsePage query={query} hasActions={settings.hasActions} />;
    case "data":
      return <DataPage query={query} />;
    case "workers":
      return <WorkersPage master={master} />;
    case "masters":
      return <MastersPage master={master} />;
    case "raft":
      return <RaftPage live={live} master={master} />;
    case "mounts":
      return <MountsPage master={master} />;
    default:
      return <MasterOverview live={live} master={master} />;
  }
}

function Head({ status }: { readonly status: StatusDocument | null }) {
  if (status === null) return <span class="quiet">…</span>;
  if (status.kind === "worker")
    return (
      <>
        <span class="who">{status.worker.rpc}</span>
        <Badge mood={status.worker.isRegistered ? "good" : "bad"}>worker</Badge>
      </>
    );
  const { text, mood } = roleOf(status.master);
  return (
    <>
      <span class="who">{status.master.rpc}</span>
      <Badge mood={mood}>{text}</Badge>
      <span class="quiet term">term {status.master.term}</span>
    </>
  );
}

function App() {
  const live = useLive();
  const route = useRoute();
  const content = useRef<HTMLElement>(null);
  const { status } = live;
  const pages = status?.kind === "worker" ? WORKER_PAGES : MASTER_PAGES;
  const known = pages.find(([page]) => page === route.page);
  const title = known?.[1] ?? "Overview";
  const isFirst = useRef(true);
  useEffect(() => {
    document.title = `${title} – Rockpool`;
    // A new page is read from its top; the first one leaves the focus where the browser put it.
    if (!isFirst.current) content.current?.focus();
    isFirst.current = false;
  }, [title]);
  return (
    <>
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={hrefOf("overview")}>
          <img src="/assets/icon.svg" alt="" width={28} height={28} />
          Rockpool
        </a>
        <div class="identity">
          <Head status={status} />
        </div>
        <ThemeChoice />
      </header>
      <div class="frame">
        <Navigation pages={pages} current={known?.[0] ?? "overview"} />
        <main id="content" ref={content} tabIndex={-1}>
          <h1>{title}</h1>
          <Banners live={live} />
          {status === null ? (
            <p class="quiet">Asking…</p>
          ) : (
            <Page
              live={live}
              status={status}
              route={known === undefined ? { ...route, page: "overview" } : route}
            />
          )}
        </main>
      </div>
      <footer class="foot quiet">
        <a href="/healthz">health</a> · <a href="/leader">leader</a> ·{" "}
        <a href="/metrics/prometheus/">metrics</a>
        {status === null
          ? null
          : ` · protocol ${status.kind === "master" ? status.master.version : status.worker.version}`}
      </footer>
    </>
  );
}

const root = document.getElementById("app");
if (root !== null) {
  applyTheme(initialTheme());
  store.start();
  render(<App />, root);
}
