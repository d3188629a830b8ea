#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What kind of WebAssembly the library is: without threads no instruction of it
# is atomic, so that it runs on plain memory, anywhere; with threads (CFLAGS of
# -pthread) some are.
#
# Environment: top_builddir (the top of the build), FOR_EMSCRIPTEN, PTHREAD_FLAG, NM.
set -u
LC_ALL=C
export LC_ALL

if [ "${FOR_EMSCRIPTEN-}" != yes ]; then
  echo '1..0 # SKIP this build is not for WebAssembly'
  exit 0
fi
# Emscripten's nm has the disassembler beside it.
objdump=$(echo "$NM" | sed 's/nm\(-[0-9]*\)\{0,1\}$/objdump\1/')
archive=$top_builddir/.libs/libmempool.a
if ! command -v "$objdump" >/dev/null; then
  echo "1..0 # SKIP $objdump is not installed"
  exit 0
fi

directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT
"$objdump" -d "$archive" >"$directory/code" || exit 99
atomics=$(grep -c '[[:space:]]\(i32\|i64\|memory\)\.atomic\.' "$directory/code")
calls=$(grep -c '[[:space:]]call[[:space:]]' "$directory/code")

number=0
failed=0
result() { # status, name, figures
  number=$((number + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $number - $2"
  else
    echo "not ok $number - $2"
    echo "# $3"
    failed=1
  fi
}
echo 1..2
[ "$calls" -gt 100 ]
result $? 'the code can be read' "$calls calls found"
if [ -z "${PTHREAD_FLAG-}" ]; then
  [ "$atomics" -eq 0 ]
  result $? 'a build for one thread has no atomic instruction' "$atomics found"
else
  [ "$atomics" -gt 20 ]
  result $? 'a build for threads has atomic instructions' "$atomics found"
fi
exit $failed
