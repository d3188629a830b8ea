#!/bin/sh
# SPDX-License-Identifier: MIT
# That mempool.h compiles alone, in every language version that it promises, with no warning.
set -u
LC_ALL=C
export LC_ALL
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT
cat >"$directory/use.c" <<'END'
#include <mempool.h>
int use(void);
int use(void)
{
  mempool_options options = MEMPOOL_OPTIONS_INIT;
  mempool_stats stats = MEMPOOL_STATS_INIT;
  return options.flags == 0 && stats.size == sizeof stats && MEMPOOL_VERSION_MAJOR >= 0 ? MEMPOOL_OK : 1;
}
END
cp "$directory/use.c" "$directory/use.cc"

warnings='-Wall -Wextra -Wpedantic -Wundef -Werror'
number=0
failed=0
try() { # compiler, standard, file
  number=$((number + 1))
  if ! command -v "$1" >/dev/null; then
    echo "ok $number - $1 -std=$2 # SKIP $1 is not installed"
  # shellcheck disable=SC2086 # several flags
  elif "$1" "-std=$2" $warnings -I"$srcdir/include" -c "$directory/$3" -o "$directory/use.o" >"$directory/out" 2>&1; then
    echo "ok $number - $1 -std=$2"
  else
    echo "not ok $number - $1 -std=$2"
    sed 's/^/# /' "$directory/out"
    failed=1
  fi
}

echo 1..9
try gcc c99 use.c
try gcc c11 use.c
try g++ c++11 use.cc
try g++ c++17 use.cc
try clang c99 use.c
try clang c11 use.c
try clang++ c++11 use.cc
try clang++ c++17 use.cc

# What the header defines itself, and what it includes doesn't.
number=$((number + 1))
name='every macro begins with MEMPOOL_'
sed -n 's/^#include/&/p' "$srcdir/include/mempool.h" >"$directory/included.c"
echo '#include <mempool.h>' >"$directory/all.c"
for file in included all; do
  $CC -I"$srcdir/include" -dM -E "$directory/$file.c" 2>"$directory/out" | sort >"$directory/$file"
done
comm -13 "$directory/included" "$directory/all" | awk '{ print $2 }' >"$directory/macros"
if grep -q '^MEMPOOL_OK\|^MEMPOOL_ZERO$' "$directory/macros" && ! grep -v '^MEMPOOL_' "$directory/macros" >>"$directory/out"; then
  echo "ok $number - $name"
else
  echo "not ok $number - $name"
  sed 's/^/# /' "$directory/out"
  failed=1
fi
exit $failed
