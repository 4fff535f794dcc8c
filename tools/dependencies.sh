#!/bin/sh
# Installs what the project needs into node_modules: the packages of the lock file, Node 24 among
# them, and raw-socket compiled against that Node (a plain `npm ci` would compile it against the
# shell's). Run by `make`; says what is missing in one line and exits 2.
set -eu
cd "$(dirname "$0")/.."

fail() {
  echo "error: $1" >&2
  exit 2
}

command -v node >/dev/null || fail "node is missing: install Node.js 20 or newer, with npm"
command -v npm >/dev/null || fail "npm is missing: install Node.js 20 or newer, with npm"
major=$(node --print 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || fail "node $(node --version) is too old: install Node.js 20 or newer"
command -v cc >/dev/null || fail "no C compiler: install gcc (the native sockets are compiled)"

echo "installing npm packages (half a minute)" >&2
npm ci --ignore-scripts --loglevel=error
npm rebuild node --loglevel=error >/dev/null
PATH="$PWD/node_modules/.bin:$PATH"
include=$(echo "$PWD"/node_modules/node/node_modules/node-*/include)
npm_config_nodedir=${include%/include}
export PATH npm_config_nodedir
npm rebuild raw-socket --loglevel=error >/dev/null
node --eval 'require("raw-socket")'
