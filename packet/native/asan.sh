#!/bin/sh
# Builds the native module with AddressSanitizer and runs the link tests on it (as root).
# The test runner itself runs as always; only the processes that load the module are watched.
set -eu
cd "$(dirname "$0")/../.."
PATH=$PWD/node_modules/.bin:$PATH
include=$(echo node_modules/node/node_modules/node-*/include/node)
mkdir -p build/asan
cc -O1 -g -std=gnu11 -Wall -Wextra -Werror -fPIC -shared -fsanitize=address,undefined \
  -fno-sanitize-recover=undefined -fno-omit-frame-pointer -I"$include" packet/native/*.c \
  -o build/asan/packet_socket.node
export PACKET_SOCKET="$PWD/build/asan/packet_socket.node"
AGENT_PRELOAD=$(cc -print-file-name=libasan.so)
export AGENT_PRELOAD
# V8 keeps memory on purpose until the process ends, so leaks cannot be told apart; and the addon of
# raw-socket deletes its handles as another type than it made them.
export ASAN_OPTIONS=detect_leaks=0:new_delete_type_mismatch=0:halt_on_error=1:abort_on_error=1
export NODE_OPTIONS=--experimental-vm-modules CI=true
exec jest --selectProjects link "$@"
