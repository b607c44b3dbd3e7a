/**
 * What a namespace does, in a hundred lines: the sequential model that histories are judged by.
 *
 * A state holds the paths below one directory. Ids are what makes it sharp: a file that was made twice, or that came
 * back after its removal, has another id. An id that no client has seen yet is unknown, and the first who sees it binds it.
 * @module
 */
export type NodeState = {
  readonly kind: "d" | "f";
  readonly id: string | null;
  readonly isComplete: boolean;
};

export type Operation =
  | { readonly kind: "create"; readonly path: string; readonly isRecursive: boolean }
  | {
      readonly kind: "mkdir";
      readonly path: string;
      readonly isRecursive: boolean;
      readonly allowExists: boolean;
    }
  | { readonly kind: "remove"; readonly path: string; readonly isRecursive: boolean }
  | { readonly kind: "rename"; readonly path: string; readonly to: string }
  | { readonly kind: "complete"; readonly path: string }
  | { readonly kind: "status"; readonly path: string }
  | { readonly kind: "list"; readonly path: string };

/** "ok" or a status; what was seen. Null: the client never learned. */
export type Outcome = {
  readonly status: string;
  readonly seen: readonly { readonly name: string; readonly node: NodeState }[];
};

export class State {
  readonly nodes: ReadonlyMap<string, NodeState>;
  #key: string | null = null;

  constructor(nodes: ReadonlyMap<string, NodeState>) {
    this.nodes = nodes;
  }

  get key(): string {
    this.#key ??= [...this.nodes]
      .map(([path, { kind, id, isComplete }]) => `${path}${kind}${id}${isComplete}`)
      .sort()
      .join();
    return this.#key;
  }

  with(changes: (nodes: Map<string, NodeState>) => void): State {
    const nodes = new Map(this.nodes);
    changes(nodes);
    return new State(nodes);
  }

  below(path: string): [string, NodeState][] {
    return [...this.nodes].filter(([each]) => each.startsWith(`${path}/`));
  }

  children(path: string): [string, NodeState][] {
    return this.below(path).filter(([each]) => !each.slice(path.length + 1).includes("/"));
  }
}

/** The state in which only the directory of the partition exists. */
export function emptyState(root: string): State {
  return new State(new Map([[root, { kind: "d", id: null, isComplete: false }]]));
}

function parentsOf(path: string): string[] {
  const names = path.split("/").slice(1, -1);
  return names.map((_, at) => `/${names.slice(0, at + 1).join("/")}`);
}

/** Why nothing can be made at a path; null when it can. */
function obstacle(state: State, path: string, isRecursive: boolean): string | null {
  const parents = parentsOf(path);
  const missing = parents.filter((parent) => !state.nodes.has(parent));
  const deepest = parents.filter((parent) => state.nodes.has(parent)).at(-1);
  if (deepest !== undefined && state.nodes.get(deepest)?.kind === "f") return "INVALID_ARGUMENT";
  return missing.length > 0 && !isRecursive ? "NOT_FOUND" : null;
}

function made(state: State, path: string, node: NodeState): State {
  return state.with((nodes) => {
    for (const parent of parentsOf(path))
      if (!nodes.has(parent)) nodes.set(parent, { kind: "d", id: null, isComplete: false });
    nodes.set(path, node);
  });
}

/** What an operation does to a state: a status and the state after it. */
function effect(
  state: State,
  operation: Operation,
): { readonly status: string; readonly after: State } {
  const { path } = operation;
  const target = state.nodes.get(path);
  const failed = (status: string) => ({ status, after: state });
  switch (operation.kind) {
    case "create": {
      if (target !== undefined) return failed("ALREADY_EXISTS");
      const why = obstacle(state, path, operation.isRecursive);
      if (why !== null) return failed(why);
      return { status: "ok", after: made(state, path, { kind: "f", id: null, isComplete: false }) };
    }
    case "mkdir": {
      if (target !== undefined)
        return failed(operation.allowExists && target.kind === "d" ? "ok" : "ALREADY_EXISTS");
      const why = obstacle(state, path, operation.isRecursive);
      if (why !== null) return failed(why);
      return { status: "ok", after: made(state, path, { kind: "d", id: null, isComplete: false }) };
    }
    case "remove": {
      if (target === undefined) return failed("NOT_FOUND");
      if (!operation.isRecursive && state.children(path).length > 0)
        return failed("FAILED_PRECONDITION");
      const after = state.with((nodes) => {
        nodes.delete(path);
        for (const [below] of state.below(path)) nodes.delete(below);
      });
      return { status: "ok", after };
    }
    case "rename":
      return renamed(state, path, operation.to);
    case "complete": {
      if (target === undefined) return failed("NOT_FOUND");
      if (target.kind === "d") return failed("INVALID_ARGUMENT");
      if (target.isComplete) return failed("ALREADY_EXISTS");
      const after = state.with((nodes) => nodes.set(path, { ...target, isComplete: true }));
      return { status: "ok", after };
    }
    default:
      return failed(target === undefined ? "NOT_FOUND" : "ok");
  }
}

function renamed(state: State, path: string, to: string) {
  const failed = (status: string) => ({ status, after: state });
  const target = state.nodes.get(path);
  if (path !== to && to.startsWith(`${path}/`)) return failed("INVALID_ARGUMENT");
  if (target === undefined) return failed("NOT_FOUND");
  if (path === to) return failed("ok");
  if (state.nodes.has(to)) return failed("ALREADY_EXISTS");
  const why = obstacle(state, to, false);
  const missing = parentsOf(to).filter((parent) => !state.nodes.has(parent));
  if (missing.length > 0) return failed("NOT_FOUND");
  if (why !== null) return failed(why);
  const after = state.with((nodes) => {
    nodes.delete(path);
    nodes.set(to, target);
    for (const [below, node] of state.below(path)) {
      nodes.delete(below);
      nodes.set(to + below.slice(path.length), node);
    }
  });
  return { status: "ok", after };
}

/** @returns null when they contradict each other; else the node with all that is known of it */
function agree(known: NodeState | undefined, seen: NodeState): NodeState | null {
  if (known === undefined || known.kind !== seen.kind || known.isComplete !== seen.isComplete)
    return null;
  if (known.id === null || seen.id === null) return { ...known, id: known.id ?? seen.id };
  return known.id === seen.id ? known : null;
}

function bind(state: State, seen: Outcome["seen"]): State | null {
  let after = state;
  for (const { name, node } of seen) {
    const known = state.nodes.get(name);
    const both = agree(known, node);
    if (both === null) return null;
    if (both.id !== known?.id) after = after.with((nodes) => nodes.set(name, both));
  }
  return after;
}

/**
 * The states that may hold after an operation that was seen to end so.
 * @param outcome null: nobody knows how it ended
 */
export function step(
  state: State,
  operation: Operation,
  outcome: Outcome | null,
): readonly State[] {
  const { status, after } = effect(state, operation);
  if (outcome === null) return [after];
  // A file that somebody else removed at once can't be described to its maker any more.
  if (operation.kind === "create" && outcome.status === "NOT_FOUND")
    return status === "ok" || status === "NOT_FOUND" ? [after] : [];
  if (status !== outcome.status) return [];
  if (status !== "ok") return [state];
  if (operation.kind === "list") {
    const target = state.nodes.get(operation.path);
    const children = target?.kind === "d" ? state.children(operation.path).length : 1;
    if (children !== outcome.seen.length) return [];
  }
  const bound = bind(after, outcome.seen);
  return bound === null ? [] : [bound];
}
