/**
 * The parts of which all pages are made.
 * @module
 */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError } from "./api.ts";
import { count, percent, size } from "./format.ts";
import { addressAt } from "./store.ts";

export function Card(props: {
  readonly title: string;
  readonly aside?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  const id = useId();
  return (
    <section class="card" aria-labelledby={id}>
      <header class="card-head">
        <h2 id={id}>{props.title}</h2>
        {props.aside}
      </header>
      {props.children}
    </section>
  );
}

export type Mood = "good" | "bad" | "warn" | "quiet" | "accent";

export function Badge(props: { readonly mood: Mood; readonly children: ComponentChildren }) {
  return <span class={`badge ${props.mood}`}>{props.children}</span>;
}

export function Facts(props: {
  readonly pairs: readonly (readonly [string, ComponentChildren])[];
  readonly isColumn?: boolean;
}) {
  return (
    <dl class={props.isColumn === true ? "facts storage" : "facts"}>
      {props.pairs.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export type Column<T> = {
  readonly head: string;
  readonly cell: (row: T) => ComponentChildren;
  readonly isNumber?: boolean;
};

export function Table<T>(props: {
  /** For those who do not see where it stands. */
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly keyOf: (row: T) => string;
  readonly empty?: string;
}) {
  const { label, columns, rows, keyOf, empty = "None." } = props;
  if (rows.length === 0) return <p class="quiet">{empty}</p>;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a wide table is scrolled by keyboard, too
    <section class="scroll" tabIndex={0} aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map(({ head, isNumber }) => (
              <th key={head} scope="col" class={isNumber === true ? "number" : ""}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map(({ head, cell, isNumber }) => (
                <td key={head} class={isNumber === true ? "number" : ""}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** A share of something, as a bar with its numbers. */
export function Usage(props: { readonly usedBytes: number; readonly capacityBytes: number }) {
  const { usedBytes, capacityBytes } = props;
  if (capacityBytes < 0) return <span class="quiet">unknown</span>;
  const share = percent(usedBytes, capacityBytes);
  return (
    <span class="usage">
      <span class="bar" aria-hidden="true">
        <span style={{ width: `${share}%`, minWidth: usedBytes > 0 ? "2px" : 0 }} />
      </span>
      <span>
        {size(usedBytes)} <span class="quiet">of {size(capacityBytes)}</span>
      </span>
    </span>
  );
}

export function Sparkline(props: { readonly values: readonly number[]; readonly label: string }) {
  const { values, label } = props;
  if (values.length < 2 || values.every((value) => value === values[0]))
    return <svg class="spark" role="img" aria-label={label} />;
  const top = Math.max(...values);
  const bottom = Math.min(...values, 0);
  const span = top - bottom || 1;
  const points = values
    .map((value, at) => {
      const x = (100 * at) / (values.length - 1);
      return `${x.toFixed(2)},${(26 - (24 * (value - bottom)) / span).toFixed(2)}`;
    })
    .join(" ");
  return (
    <svg
      class="spark"
      viewBox="0 0 100 28"
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <polyline points={points} />
    </svg>
  );
}

export function Tile(props: {
  readonly name: string;
  readonly value: ComponentChildren;
  readonly note?: ComponentChildren;
  readonly spark?: readonly number[];
}) {
  const { name, value, note, spark } = props;
  return (
    <div class="tile">
      <span class="tile-name">{name}</span>
      <span class="tile-value">{value}</span>
      <span class="tile-note">{note}</span>
      {spark === undefined ? null : <Sparkline values={spark} label={`${name} of late`} />}
    </div>
  );
}

/** Something to know before all else. */
export function Notice(props: { readonly mood: Mood; readonly children: ComponentChildren }) {
  return (
    <div class={`notice ${props.mood}`} role={props.mood === "bad" ? "alert" : "status"}>
      {props.children}
    </div>
  );
}

export function WebLink(props: { readonly web: string; readonly children: ComponentChildren }) {
  return <a href={`http://${props.web}/`}>{props.children}</a>;
}

/** What to say when a question was not answered: where the answer is, if that is known. */
export function Failure(props: { readonly error: Error }) {
  const { error } = props;
  if (error instanceof ApiError && error.needsLeader)
    return (
      <Notice mood="warn">
        {error.leader === null ? (
          "No master leads at this moment. This page goes on as soon as one does."
        ) : (
          <>
            Only the leader can show this.{" "}
            <a href={addressAt(error.leader.web)}>Open it on the leader, {error.leader.web}</a>
          </>
        )}
      </Notice>
    );
  return <Notice mood="bad">{error.message}</Notice>;
}

export function Pager(props: {
  readonly offset: number;
  readonly limit: number;
  readonly total: number;
  readonly hrefAt: (offset: number) => string;
}) {
  const { offset, limit, total, hrefAt } = props;
  if (total <= limit && offset === 0) return null;
  const last = Math.max(0, Math.floor((total - 1) / limit) * limit);
  const steps: readonly (readonly [string, number, boolean])[] = [
    ["First", 0, offset > 0],
    ["Previous", Math.max(0, offset - limit), offset > 0],
    ["Next", offset + limit, offset + limit < total],
    ["Last", last, offset < last],
  ];
  return (
    <nav class="pager" aria-label="Pages of this list">
      <span class="quiet">
        {count(Math.min(offset + 1, total))} to {count(Math.min(offset + limit, total))} of{" "}
        {count(total)}
      </span>
      {steps.map(([name, at, isPossible]) =>
        isPossible ? (
          <a key={name} class="button" href={hrefAt(at)}>
            {name}
          </a>
        ) : (
          <span key={name} class="button disabled" aria-disabled="true">
            {name}
          </span>
        ),
      )}
    </nav>
  );
}

/** Asks before something is done; the browser's own dialog keeps the focus and closes on Escape. */
export function Confirm(props: {
  readonly title: string;
  readonly action: string;
  readonly children: ComponentChildren;
  readonly onConfirm: () => void;
  readonly onCancel: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={props.onCancel}>
      <h2 id={id}>{props.title}</h2>
      <div>{props.children}</div>
      <p class="actions">
        <button type="button" onClick={() => dialog.current?.close()}>
          Cancel
        </button>
        <button type="button" class="primary" onClick={props.onConfirm}>
          {props.action}
        </button>
      </p>
    </dialog>
  );
}

/** What became of something that the user did. */
export type Outcome = { readonly mood: Mood; readonly text: string } | null;

export function useOutcome(): readonly [Outcome, (outcome: Outcome) => void] {
  return useState<Outcome>(null);
}

export const messageOf = (error: unknown) =>
  error instanceof Error ? error.message : String(error);
