/**
 * The namespace: directories by pages, files with their bytes and places, and ways in and out.
 * @module
 */
import { useRef, useState } from "preact/hooks";
import { query, send } from "../api.ts";
import {
  Badge,
  Card,
  type Column,
  Facts,
  Failure,
  messageOf,
  Notice,
  Pager,
  Table,
  useOutcome,
  WebLink,
} from "../components.tsx";
import { count, percent, plural, size, time } from "../format.ts";
import { hrefOf } from "../router.ts";
import { useAnswer } from "../use_answer.ts";

const LIMIT = 50;
const PREVIEW_BYTES = 5 * 1024;

type Place = {
  readonly host: string;
  readonly data: string;
  readonly web: string;
  readonly tier: string;
};
type Block = {
  readonly id: number;
  readonly blockLength: number;
  readonly places: readonly Place[];
};
export type FileShape = {
  readonly name: string;
  readonly absolutePath: string;
  readonly isDirectory: boolean;
  readonly lengthBytes: number;
  readonly blockSizeBytes: string;
  readonly createdMs: number;
  readonly modifiedMs: number;
  readonly owner: string;
  readonly group: string;
  readonly mode: string;
  readonly persistenceState: string;
  readonly pinned: boolean;
  readonly isCompleted: boolean;
  readonly isMountPoint: boolean;
  readonly inAlluxioPercentage: number;
  readonly ufsPath: string;
};
type Browse = {
  readonly currentDirectory?: FileShape;
  readonly invalidPathError?: string;
  readonly fileInfos: readonly FileShape[] | null;
  readonly ntotalFile: number;
  readonly fileBlocks: readonly Block[] | null;
  readonly fileDataBase64?: string;
  readonly viewingOffset: number;
};

export const FILE_COLUMNS: readonly Column<FileShape>[] = [
  {
    head: "Name",
    cell: ({ name, absolutePath, isDirectory, isMountPoint, pinned }) => (
      <>
        <a class={isDirectory ? "folder" : "file"} href={hrefOf("browse", { path: absolutePath })}>
          {name}
          {isDirectory ? "/" : ""}
        </a>
        {isMountPoint ? <Badge mood="accent">mount</Badge> : null}
        {pinned ? <Badge mood="quiet">pinned</Badge> : null}
      </>
    ),
  },
  {
    head: "Size",
    isNumber: true,
    cell: ({ isDirectory, lengthBytes }) =>
      isDirectory ? plural(lengthBytes, "entry", "entries") : size(lengthBytes),
  },
  {
    head: "Cached",
    isNumber: true,
    cell: ({ isDirectory, inAlluxioPercentage }) => (isDirectory ? "" : `${inAlluxioPercentage} %`),
  },
  { head: "Mode", cell: ({ mode }) => <code>{mode}</code> },
  { head: "Owner", cell: ({ owner, group }) => `${owner}:${group}` },
  {
    head: "Persistence",
    cell: ({ persistenceState }) => persistenceState.toLowerCase().replaceAll("_", " "),
  },
  { head: "Modified", cell: ({ modifiedMs }) => time(modifiedMs) },
];

function Crumbs({ path }: { readonly path: string }) {
  const names = path.split("/").filter((name) => name !== "");
  return (
    <nav class="crumbs" aria-label="Where this is">
      <a href={hrefOf("browse", { path: "/" })}>root</a>
      {names.map((name, at) => {
        const here = `/${names.slice(0, at + 1).join("/")}`;
        const isLast = at === names.length - 1;
        return (
          <span key={here}>
            <span class="quiet" aria-hidden="true">
              {" / "}
            </span>
            <a href={hrefOf("browse", { path: here })} aria-current={isLast ? "page" : undefined}>
              {name}
            </a>
          </span>
        );
      })}
    </nav>
  );
}

function Upload({
  directory,
  onDone,
}: {
  readonly directory: string;
  readonly onDone: () => void;
}) {
  const input = useRef<HTMLInputElement>(null);
  const [outcome, setOutcome] = useOutcome();
  const [isBusy, setBusy] = useState(false);
  const upload = async (files: readonly File[]) => {
    setBusy(true);
    try {
      for (const file of files) {
        const path = `${directory === "/" ? "" : directory}/${file.name}`;
        setOutcome({ mood: "quiet", text: `Sending ${file.name}, ${size(file.size)}…` });
        await send(`/api/v1/master/upload${query({ path })}`, file, "application/octet-stream");
        setOutcome({ mood: "good", text: `${path} is there.` });
      }
    } catch (error) {
      setOutcome({ mood: "bad", text: messageOf(error) });
    }
    if (input.current !== null) input.current.value = "";
    setBusy(false);
    onDone();
  };
  return (
    <>
      <label class={`button ${isBusy ? "disabled" : ""}`}>
        Upload
        <input
          ref={input}
          type="file"
          multiple
          class="hidden-input"
          disabled={isBusy}
          onChange={({ currentTarget }) => void upload([...(currentTarget.files ?? [])])}
        />
      </label>
      {outcome === null ? null : <Notice mood={outcome.mood}>{outcome.text}</Notice>}
    </>
  );
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

function hexOf(bytes: Uint8Array, offset: number): string {
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = row
      .map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·"))
      .join("");
    lines.push(`${(offset + at).toString(16).padStart(8, "0")}  ${hex.padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}

/** Text unless there are bytes that no text has. */
function looksBinary(bytes: Uint8Array): boolean {
  return bytes.some((byte) => byte === 0 || (byte < 32 && ![9, 10, 12, 13, 27].includes(byte)));
}

function FileView({ file, answer }: { readonly file: FileShape; readonly answer: Browse }) {
  const bytes = bytesOf(answer.fileDataBase64 ?? "");
  const [choice, setChoice] = useState<"text" | "hex" | null>(null);
  const view = choice ?? (looksBinary(bytes) ? "hex" : "text");
  const { absolutePath: path } = file;
  const text =
    view === "hex" ? hexOf(bytes, answer.viewingOffset) : new TextDecoder().decode(bytes);
  return (
    <>
      <Card
        title={file.name}
        aside={
          <a
            class="button primary"
            href={`/api/v1/master/download${query({ path })}`}
            download={file.name}
          >
            Download
          </a>
        }
      >
        <Facts
          pairs={[
            ["Size", `${size(file.lengthBytes)} (${count(file.lengthBytes)} bytes)`],
            ["Block size", file.blockSizeBytes],
            ["Cached", `${file.inAlluxioPercentage} %`],
            ["Persistence", file.persistenceState.toLowerCase().replaceAll("_", " ")],
            ["Mode", <code key="mode">{file.mode}</code>],
            ["Owner", `${file.owner}:${file.group}`],
            ["Created", time(file.createdMs)],
            ["Modified", time(file.modifiedMs)],
            ["Under store", <code key="ufs">{file.ufsPath}</code>],
          ]}
        />
      </Card>
      <Card
        title="Content"
        aside={
          <fieldset class="choice">
            <legend class="visually-hidden">How to show it</legend>
            {(["text", "hex"] as const).map((each) => (
              <label key={each}>
                <input
                  type="radio"
                  name="view"
                  checked={view === each}
                  onChange={() => setChoice(each)}
                />
                {each}
              </label>
            ))}
          </fieldset>
        }
      >
        {file.isCompleted ? (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by keyboard
          <pre class="content" tabIndex={0}>
            {text}
          </pre>
        ) : (
          <p class="quiet">It is still being written.</p>
        )}
        <Pager
          offset={answer.viewingOffset}
          limit={PREVIEW_BYTES}
          total={file.lengthBytes}
          hrefAt={(offset) => hrefOf("browse", { path, offset })}
        />
      </Card>
      <Card title={`Blocks (${answer.fileBlocks?.length ?? 0})`}>
        <Table
          label="Blocks"
          rows={answer.fileBlocks ?? []}
          keyOf={({ id }) => String(id)}
          empty="The file has no blocks."
          columns={[
            { head: "Block", cell: ({ id }) => <code>{id}</code> },
            { head: "Size", isNumber: true, cell: ({ blockLength }) => size(blockLength) },
            {
              head: "Share",
              isNumber: true,
              cell: ({ blockLength }) => `${percent(blockLength, file.lengthBytes).toFixed(0)} %`,
            },
            {
              head: "On workers",
              cell: ({ places }) =>
                places.length === 0 ? (
                  <span class="quiet">none</span>
                ) : (
                  places.map(({ web, data, tier }) => (
                    <span key={data} class="place">
                      <WebLink web={web}>{data}</WebLink> <Badge mood="quiet">{tier}</Badge>
                    </span>
                  ))
                ),
            },
          ]}
        />
      </Card>
    </>
  );
}

export function BrowsePage(props: {
  readonly query: URLSearchParams;
  readonly hasActions: boolean;
}) {
  const path = props.query.get("path") || "/";
  const offset = Number(props.query.get("offset") ?? 0) || 0;
  const { value, error, again } = useAnswer<Browse>(
    `/api/v1/master/webui_browse${query({ path, offset, limit: LIMIT })}`,
  );
  const [typed, setTyped] = useState<string | null>(null);
  const current = value?.currentDirectory;
  return (
    <>
      <Crumbs path={path} />
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          location.hash = hrefOf("browse", { path: typed ?? path });
          setTyped(null);
        }}
      >
        <label class="grow">
          <span class="visually-hidden">Path</span>
          <input
            type="text"
            value={typed ?? path}
            spellcheck={false}
            onInput={({ currentTarget }) => setTyped(currentTarget.value)}
          />
        </label>
        <button type="submit">Go</button>
        {current?.isDirectory === true && props.hasActions ? (
          <Upload directory={current.absolutePath} onDone={again} />
        ) : null}
      </form>
      {error === null ? null : <Failure error={error} />}
      {value?.invalidPathError ? <Notice mood="bad">{value.invalidPathError}</Notice> : null}
      {value !== null && value.currentDirectory === undefined && !value.invalidPathError ? (
        <Notice mood="warn">Showing files is off (alluxio.web.file.info.enabled=false).</Notice>
      ) : null}
      {value !== null && current?.isDirectory === true ? (
        <Card
          title={current.absolutePath}
          aside={<span class="quiet">{plural(value.ntotalFile, "entry", "entries")}</span>}
        >
          <Table
            label={`Entries of ${current.absolutePath}`}
            rows={value.fileInfos ?? []}
            columns={FILE_COLUMNS}
            keyOf={({ absolutePath }) => absolutePath}
            empty="The directory is empty."
          />
          <Pager
            offset={offset}
            limit={LIMIT}
            total={value.ntotalFile}
            hrefAt={(at) => hrefOf("browse", { path, offset: at })}
          />
        </Card>
      ) : null}
      {value !== null && current?.isDirectory === false ? (
        <FileView key={current.absolutePath} file={current} answer={value} />
      ) : null}
    </>
  );
}

type Data = {
  readonly inAlluxioFileNum?: number;
  readonly fileInfos?: readonly FileShape[];
  readonly atMs?: number | null;
};

export function DataPage(props: { readonly query: URLSearchParams }) {
  const offset = Number(props.query.get("offset") ?? 0) || 0;
  const { value, error } = useAnswer<Data>(
    `/api/v1/master/webui_data${query({ offset, limit: LIMIT })}`,
  );
  const total = value?.inAlluxioFileNum ?? 0;
  return (
    <>
      {error === null ? null : <Failure error={error} />}
      <Card
        title={`Files that are cached whole (${count(total)})`}
        aside={
          <span class="quiet">
            {value?.atMs === undefined || value.atMs === null
              ? ""
              : `counted at ${time(value.atMs)}`}
          </span>
        }
      >
        <Table
          label="Files in Alluxio"
          rows={(value?.fileInfos ?? []).map((file) => ({ ...file, name: file.absolutePath }))}
          columns={FILE_COLUMNS}
          keyOf={({ absolutePath }) => absolutePath}
          empty={value === null ? "Counting…" : "No file is cached whole."}
        />
        <Pager
          offset={offset}
          limit={LIMIT}
          total={total}
          hrefAt={(at) => hrefOf("data", { offset: at })}
        />
      </Card>
    </>
  );
}
