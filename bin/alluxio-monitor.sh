#!/usr/bin/env node
/** Alluxio 2.9's alluxio-monitor.sh: the same as `alluxio process monitor`. */
process.argv.splice(2, 0, "process", "monitor");
require("./rockpool");
