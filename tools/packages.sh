#!/bin/sh
# Installs the Debian packages that hold the programs named as `program:package` arguments, those
# that are missing only. Exits 2 with one line where that cannot be done.
set -eu
missing=""
for pair in "$@"; do
  program=${pair%%:*}
  PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || [ -e "$program" ] || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
  echo "error: missing programs of the packages$missing: install them (no apt-get here to do it)" >&2
  exit 2
fi
if [ "$(id -u)" != 0 ]; then
  echo "error: missing packages$missing: run as root, or: sudo apt-get install$missing" >&2
  exit 2
fi
echo "installing Debian packages:$missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "error: apt-get could not install$missing" >&2
  exit 2
fi
