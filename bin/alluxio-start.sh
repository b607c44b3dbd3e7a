#!/usr/bin/env node
/** Alluxio 2.9's alluxio-start.sh: the same as `alluxio process start`. */
process.argv.splice(2, 0, "process", "start");
require("./rockpool");
