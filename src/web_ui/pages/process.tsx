/**
 * What is about this one process: configuration, logs, and a worker's blocks.
 * @module
 */
import { useEffect, useRef, useState } from "preact/hooks";
import type { LogLevels } from "../../web/api_types.ts";
import { query, sendJson } from "../api.ts";
import {
  Badge,
  Card,
  Failure,
  messageOf,
  Notice,
  Pager,
  Table,
  useOutcome,
} from "../components.tsx";
import { count, size, time } from "../format.ts";
import { hrefOf } from "../router.ts";
import { useAnswer } from "../use_answer.ts";

export type Kind = "master" | "worker";
const api = (kind: Kind, name: string) => `/api/v1/${kind}/${name}`;

type Property = {
  readonly left: string;
  readonly middle: string;
  readonly right: string;
  readonly origin: string;
};

export function ConfigurationPage({ kind }: { readonly kind: Kind }) {
  const { value, error } = useAnswer<{ readonly configuration: readonly Property[] }>(
    api(kind, "webui_config"),
    false,
  );
  const [filter, setFilter] = useState("");
  const [isSetOnly, setSetOnly] = useState(false);
  const words = filter
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const rows = (value?.configuration ?? []).filter(
    ({ left, middle, right }) =>
      (!isSetOnly || right !== "DEFAULT") &&
      words.every((word) => `${left}=${middle} ${right}`.toLowerCase().includes(word)),
  );
  return (
    <>
      {error === null ? null : <Failure error={error} />}
      <Card
        title={`Properties (${count(rows.length)} of ${count(value?.configuration.length ?? 0)})`}
      >
        <div class="row">
          <label class="grow">
            <span class="visually-hidden">Filter</span>
            <input
              type="search"
              placeholder="Filter by name, value or source"
              value={filter}
              onInput={({ currentTarget }) => setFilter(currentTarget.value)}
            />
          </label>
          <label class="check">
            <input
              type="checkbox"
              checked={isSetOnly}
              onChange={({ currentTarget }) => setSetOnly(currentTarget.checked)}
            />
            only what was set
          </label>
        </div>
        <Table
          label="Configuration"
          rows={rows}
          keyOf={({ left }) => left}
          empty="No property fits."
          columns={[
            { head: "Property", cell: ({ left }) => <code>{left}</code> },
            { head: "Value", cell: ({ middle }) => <code class="wrap">{middle}</code> },
            {
              head: "Source",
              cell: ({ right, origin }) =>
                right === "DEFAULT" ? (
                  <span class="quiet">default</span>
                ) : (
                  <>
                    <Badge mood="accent">{right.toLowerCase().replaceAll("_", " ")}</Badge>{" "}
                    <span class="quiet wrap">{origin}</span>
                  </>
                ),
            },
          ]}
        />
      </Card>
    </>
  );
}

type LogShape = {
  readonly name: string;
  readonly lengthBytes: number;
  readonly modifiedMs: number;
};
type Logs = { readonly fileInfos?: readonly LogShape[]; readonly ntotalFile?: number };
type LogPage = {
  readonly fileData: string;
  readonly viewingOffset: number;
  readonly sizeBytes: number;
};

const TAIL_BYTES = 64 * 1024;
const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

function Levels({ kind, hasActions }: { readonly kind: Kind; readonly hasActions: boolean }) {
  const { value, error, again } = useAnswer<{ readonly levels: LogLevels }>(
    api(kind, "logLevel"),
    false,
  );
  const [outcome, setOutcome] = useOutcome();
  const set = async (logName: string, level: string) => {
    try {
      await sendJson(`${api(kind, "logLevel")}${query({ logName, level })}`, {});
      setOutcome({ mood: "good", text: `${logName} logs at ${level} until the process ends.` });
    } catch (failure) {
      setOutcome({ mood: "bad", text: messageOf(failure) });
    }
    again();
  };
  return (
    <Card title="Levels">
      {error === null ? null : <Failure error={error} />}
      {outcome === null ? null : <Notice mood={outcome.mood}>{outcome.text}</Notice>}
      <div class="levels">
        {Object.entries(value?.levels ?? {}).map(([name, level]) => (
          <label key={name}>
            <span>{name}</span>
            <select
              value={level.toUpperCase()}
              disabled={!hasActions}
              onChange={({ currentTarget }) => void set(name, currentTarget.value)}
            >
              {LEVELS.map((each) => (
                <option key={each} value={each}>
                  {each.toLowerCase()}
                </option>
              ))}
            </select>
          </label>
        ))}
      </div>
    </Card>
  );
}

function LogView({
  kind,
  name,
  offset,
}: {
  readonly kind: Kind;
  readonly name: string;
  readonly offset: number | null;
}) {
  const range = offset === null ? { offset: TAIL_BYTES, end: "1" } : { offset };
  const { value, error } = useAnswer<LogPage>(
    `${api(kind, "webui_logs")}${query({ path: name, length: TAIL_BYTES, ...range })}`,
    offset === null,
  );
  const [filter, setFilter] = useState("");
  const end = useRef<HTMLPreElement>(null);
  const wasShown = useRef(false);
  const lines = (value?.fileData ?? "")
    .split("\n")
    .filter((line) => line.toLowerCase().includes(filter.toLowerCase()));
  const text = lines.join("\n");
  useEffect(() => {
    const element = end.current;
    if (offset !== null || element === null || text === "") return;
    const isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 400;
    // Who scrolled up to read something stays there.
    if (isAtEnd || !wasShown.current) element.scrollTop = element.scrollHeight;
    wasShown.current = true;
  }, [text, offset]);
  const at = value?.viewingOffset ?? 0;
  const length = Math.min(TAIL_BYTES, (value?.sizeBytes ?? 0) - at);
  return (
    <Card
      title={name}
      aside={
        <span class="actions">
          <a
            class="button"
            href={`${api(kind, "log_download")}${query({ path: name, offset: at, length })}`}
            download={name}
          >
            Download this part
          </a>
          <a
            class="button"
            href={`${api(kind, "log_download")}${query({ path: name })}`}
            download={name}
          >
            Download all
          </a>
        </span>
      }
    >
      {error === null ? null : <Failure error={error} />}
      <div class="row">
        <label class="grow">
          <span class="visually-hidden">Filter lines</span>
          <input
            type="search"
            placeholder="Show lines that contain…"
            value={filter}
            onInput={({ currentTarget }) => setFilter(currentTarget.value)}
          />
        </label>
        {offset === null ? (
          <Badge mood="good">follows the end</Badge>
        ) : (
          <a href={hrefOf("logs", { path: name })}>follow the end</a>
        )}
      </div>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard */}
      <pre ref={end} class="content log" tabIndex={0}>
        {text}
      </pre>
      <Pager
        offset={at}
        limit={TAIL_BYTES}
        total={value?.sizeBytes ?? 0}
        hrefAt={(to) => hrefOf("logs", { path: name, offset: to })}
      />
    </Card>
  );
}

export function LogsPage(props: {
  readonly kind: Kind;
  readonly query: URLSearchParams;
  readonly hasActions: boolean;
}) {
  const { kind, hasActions } = props;
  const name = props.query.get("path");
  const offset = props.query.get("offset");
  const { value, error } = useAnswer<Logs>(`${api(kind, "webui_logs")}${query({ limit: 1000 })}`);
  return (
    <>
      {error === null ? null : <Failure error={error} />}
      {value !== null && value.fileInfos === undefined ? (
        <Notice mood="warn">Showing logs is off (alluxio.web.file.info.enabled=false).</Notice>
      ) : null}
      <Card title="Files">
        <Table
          label="Log files"
          rows={value?.fileInfos ?? []}
          keyOf={(log) => log.name}
          empty="No log was written to the folder of the logs; the process writes to its standard output."
          columns={[
            {
              head: "Name",
              cell: (log) => (
                <a
                  href={hrefOf("logs", { path: log.name })}
                  aria-current={log.name === name ? "true" : undefined}
                >
                  {log.name}
                </a>
              ),
            },
            { head: "Size", isNumber: true, cell: (log) => size(log.lengthBytes) },
            { head: "Modified", cell: (log) => time(log.modifiedMs) },
          ]}
        />
      </Card>
      {name === null ? null : (
        <LogView
          key={name}
          kind={kind}
          name={name}
          offset={offset === null ? null : Number(offset) || 0}
        />
      )}
      <Levels kind={kind} hasActions={hasActions} />
    </>
  );
}

type BlockInfo = {
  readonly ntotalFile?: number;
  readonly fileInfos?: readonly {
    readonly id: number;
    readonly absolutePath: string;
    readonly lengthBytes: number;
    readonly blockIds: readonly number[];
  }[];
};
const LIMIT = 50;

export function BlocksPage(props: { readonly query: URLSearchParams }) {
  const offset = Number(props.query.get("offset") ?? 0) || 0;
  const { value, error } = useAnswer<BlockInfo>(
    `/api/v1/worker/webui_blockinfo${query({ offset, limit: LIMIT })}`,
  );
  const total = value?.ntotalFile ?? 0;
  return (
    <>
      {error === null ? null : <Failure error={error} />}
      <Card title={`Files with blocks here (${count(total)})`}>
        <Table
          label="Files with blocks on this worker"
          rows={value?.fileInfos ?? []}
          keyOf={({ id }) => String(id)}
          empty="Nothing is cached here."
          columns={[
            {
              head: "File",
              cell: ({ absolutePath, id }) => absolutePath || <span class="quiet">file {id}</span>,
            },
            { head: "Bytes here", isNumber: true, cell: ({ lengthBytes }) => size(lengthBytes) },
            { head: "Blocks", isNumber: true, cell: ({ blockIds }) => count(blockIds.length) },
            {
              head: "Block ids",
              cell: ({ blockIds }) => (
                <code class="wrap">
                  {blockIds.slice(0, 8).join(", ")}
                  {blockIds.length > 8 ? "…" : ""}
                </code>
              ),
            },
          ]}
        />
        <Pager
          offset={offset}
          limit={LIMIT}
          total={total}
          hrefAt={(at) => hrefOf("blocks", { offset: at })}
        />
      </Card>
    </>
  );
}
