#!/usr/bin/env bash
# Programs of the system that the slower suites drive: a browser, an SSH server, rsync. Debian's packages; needs root.
# Ends with 0 when all of them are there, and network namespaces can be made.
set -uo pipefail
declare -A package=([chromium]=chromium [sshd]=openssh-server [ssh]=openssh-client [rsync]=rsync [ip]=iproute2)
missing=()
PATH="$PATH:/usr/sbin:/sbin"
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
# Whether this user may make hosts of network namespaces, joined by a bridge.
may_make_hosts() {
  local name="rpprobe$$"
  ip netns add "$name" && ip link add "$name" type bridge && unshare --uts --mount true
  local status=$?
  ip link del "$name" 2>/dev/null
  ip netns del "$name" 2>/dev/null
  return $status
}

[ ${#missing[@]} -eq 0 ] && { may_make_hosts; exit; }
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not there, and cannot be installed by this user: ${missing[*]}"
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "Installing ${missing[*]}"
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null && may_make_hosts
