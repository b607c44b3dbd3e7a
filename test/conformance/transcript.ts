/**
 * Reads what an etcd script expects of one command, and keeps what our core can be asked about.
 * @module
 */
import type { Directive } from "./datadriven.ts";
import {
  etcdConfiguration,
  etcdEntry,
  etcdMessage,
  etcdRole,
  type Facts,
  factsOf,
  isEtcdMessage,
  noFacts,
} from "./etcd_words.ts";

type Section = "none" | "entries" | "committed" | "sent" | "delivered" | "processing" | "responses";

export function expectedFacts(directive: Directive, bootIndex: number): Facts {
  const facts = noFacts();
  const lines = directive.expected.split("\n");
  let node = directive.args[0] ?? "";
  let section: Section = directive.command === "deliver-msgs" ? "delivered" : "none";
  let at = 0;
  while (at < lines.length) {
    const line = lines[at] ?? "";
    const text = line.trim();
    const header = /^> (\w+) (.*)$/.exec(text);
    if (header !== null) {
      node = header[1] ?? "";
      section = header[2] === "receiving messages" ? "delivered" : "none";
    } else if (isEtcdMessage(line)) {
      const { text: message, next } = etcdMessage(lines, at, bootIndex);
      at = next;
      if (message === null) continue;
      if (section === "delivered") facts.delivered.push(message);
      else if (section === "sent" || section === "responses") facts.sent.push(message);
      continue;
    } else section = readLine(facts, node, section, text);
    at += 1;
  }
  return facts;
}

function readLine(facts: Facts, node: string, section: Section, text: string): Section {
  const known = () => factsOf(facts, node);
  if (text === "Entries:") return "entries";
  if (text === "CommittedEntries:") return "committed";
  if (text === "Messages:") return "sent";
  if (text === "Processing:") return "processing";
  if (text === "Responses:") return "responses";
  const soft = /^Lead:(\d+) State:(\w+)$/.exec(text);
  if (soft !== null) {
    known().lead = soft[1] ?? "";
    known().role = etcdRole(soft[2] ?? "");
    return "none";
  }
  const hard = /^HardState Term:(\d+)(?: Vote:(\d+))? Commit:(\d+)$/.exec(text);
  if (hard !== null) {
    known().hard = { term: Number(hard[1]), vote: hard[2] ?? "0", commit: Number(hard[3]) };
    return "none";
  }
  if (/^\d+\/\d+ Entry/.test(text) && (section === "entries" || section === "committed")) {
    const entry = etcdEntry(text);
    if (section === "committed") known().applied.push(entry.text);
    else {
      for (const index of known().appended.keys())
        if (index > entry.index) known().appended.delete(index);
      known().appended.set(entry.index, entry.text);
    }
    return section;
  }
  readLogLine(facts, text);
  return section;
}

function readLogLine(facts: Facts, text: string): void {
  const became = /^INFO (\d+) became ([\w-]+) at term (\d+)$/.exec(text);
  if (became !== null) {
    const known = factsOf(facts, became[1] ?? "");
    known.role = became[2] === "pre-candidate" ? "preCandidate" : (became[2] ?? "");
    known.term = Number(became[3]);
    // The line does not say whom it follows.
    known.lead = known.role === "leader" ? (became[1] ?? "") : null;
    if (known.role === "leader") known.becameLeader.push(known.term);
  }
  const switched = /^INFO (\d+) switched to configuration (.*)$/.exec(text);
  if (switched !== null)
    factsOf(facts, switched[1] ?? "").configuration = etcdConfiguration(switched[2] ?? "");
}
