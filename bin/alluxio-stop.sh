#!/usr/bin/env node
/** Alluxio 2.9's alluxio-stop.sh: the same as `alluxio process stop`. */
process.argv.splice(2, 0, "process", "stop");
require("./rockpool");
