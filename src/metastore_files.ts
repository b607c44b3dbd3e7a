/**
 * Which files in the metadata folder are ours.
 * @module
 */

/** Files of the metadata store; nothing else in its folder is touched. */
export const METASTORE_FILE =
  /^((store(\.version-\d+|\.suspect)?|incoming)\.mdb(-lock)?|store\.lock|opened\.(json(\.new)?|trial)|journal\.group)$/;
