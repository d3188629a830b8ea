#!/bin/sh
# SPDX-License-Identifier: MIT
# The library's own code, under every order in which its threads could run: the
# quick part of tests/explore.  `make explore` runs all of it.
set -u
LC_ALL=C
export LC_ALL

skip() {
  echo "1..0 # SKIP $1"
  exit 0
}

case ${CFLAGS-} in
*-fsanitize*) skip "the explorer takes the place of ThreadSanitizer's runtime, and goes with no sanitizer" ;;
esac
${CC:-cc} --version 2>/dev/null | grep -q 'Free Software Foundation' || skip 'the explorer is built with gcc'

directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT
if ! CC=${CC:-cc} sh "$srcdir/tests/explore/build.sh" "$directory/explore" >"$directory/log" 2>&1; then
  echo 'Bail out! the explorer does not build'
  tail -n 20 "$directory/log" | sed 's/^/# /'
  exit 99
fi
timeout 600 "$directory/explore" --quick
status=$?
[ $status -ne 124 ] || echo 'Bail out! no end within 600 s'
exit $status
