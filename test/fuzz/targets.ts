/**
 * Every decoder that meets bytes from a disk, a network or a person.
 * @module
 */

import { EDGE_TARGETS } from "./edge_targets.ts";
import type { FuzzTarget } from "./fuzzer.ts";
import { JOURNAL_TARGETS } from "./journal_targets.ts";
import { ROW_TARGETS } from "./row_targets.ts";
import { SERVICE_TARGETS } from "./service_targets.ts";
import { TEXT_TARGETS } from "./text_targets.ts";
import { WIRE_TARGETS } from "./wire_targets.ts";

export const TARGETS: readonly FuzzTarget[] = [
  ...TEXT_TARGETS,
  ...JOURNAL_TARGETS,
  ...ROW_TARGETS,
  ...WIRE_TARGETS,
  ...SERVICE_TARGETS,
  ...EDGE_TARGETS,
];
