#!/usr/bin/env bash
# Programs of the system that the slower suites drive: a browser, an SSH server, rsync. Debian's packages; needs root.
# Ends with 0 when all of them are there.
set -uo pipefail
declare -A package=([chromium]=chromium [sshd]=openssh-server [ssh]=openssh-client [rsync]=rsync [ip]=iproute2)
missing=()
PATH="$PATH:/usr/sbin:/sbin"
for program in "${!package[@]}"; do
  command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "Not there, and cannot be installed by this user: ${missing[*]}"
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "Installing ${missing[*]}"
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null
