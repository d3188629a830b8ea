#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs into a scratch directory, and builds and runs a program against what
# was installed, through pkg-config, as a user of the library would.
set -u
LC_ALL=C
export LC_ALL
directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT

cat >"$directory/consumer.c" <<'END'
#include <mempool.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
  mempool *pool;
  void *block;
  if (mempool_create(&pool, 100, 10, NULL) != MEMPOOL_OK)
    return 1;
  block = mempool_alloc(pool);
  if (block == NULL || mempool_free(pool, block) != MEMPOOL_OK || mempool_free(pool, block) != MEMPOOL_E_DOUBLE_FREE)
    return 1;
  mempool_destroy(pool);
  puts(mempool_version());
  return 0;
}
END

number=0
failed=0
result() { # status, name; what is in $directory/out is printed if it failed
  number=$((number + 1))
  if [ "$1" -eq 0 ]; then
    echo "ok $number - $2"
  else
    echo "not ok $number - $2"
    tail -n 20 "$directory/out" | sed 's/^/# /'
    failed=1
  fi
}
skip() { # name, reason
  number=$((number + 1))
  echo "ok $number - $1 # SKIP $2"
}
# A program of WebAssembly needs something to run it.
run() {
  # shellcheck disable=SC2086 # a command with arguments
  ${PROGRAM_RUNNER-} "$1"
}
version=$(sed -n 's/^Version: //p' pkgconfig/libmempool.pc)
root=$directory/root

# A program is built with the flags of the library: those of a sanitizer must be the same for both.
build() { # output, pkg-config arguments
  output=$1
  shift
  # shellcheck disable=SC2046,SC2086 # several flags
  $CC $CFLAGS $LDFLAGS "$directory/consumer.c" $(pkg-config "$@" --cflags --libs libmempool) -o "$output" \
    >"$directory/out" 2>&1
}

echo 1..10
# pkg-config prefers libmempool-uninstalled.pc, which is there in a build tree.
PKG_CONFIG_PATH=$PWD/pkgconfig
export PKG_CONFIG_PATH
build "$directory/uninstalled"
result $? 'a program builds against the build tree'
# shellcheck disable=SC2086 # a command with arguments
env LD_LIBRARY_PATH="$PWD/.libs" ${PROGRAM_RUNNER-} "$directory/uninstalled" >"$directory/out" 2>&1 &&
  [ "$(cat "$directory/out")" = "$version" ]
result $? 'and runs, with nothing installed'

"$MAKE" install DESTDIR="$root" >"$directory/out" 2>&1
result $? 'make install with DESTDIR'

ls "$root$includedir/mempool.h" "$root$mandir/man3/mempool_alloc.3" "$root$mandir/man7/libmempool.7" \
  >"$directory/out" 2>&1
result $? 'header and manual are installed'

missing=
for name in $(sed -n 's/^ *\(mempool_[a-z_]*\);$/\1/p' "$srcdir/lib/libmempool.map"); do
  [ -f "$root$mandir/man3/$name.3" ] || missing="$missing $name"
done
echo "no page for:$missing" >"$directory/out"
[ -z "$missing" ]
result $? 'every function is found by its name in section 3'

# pkg-config puts the root before the directories that the installed file names.
PKG_CONFIG_PATH=$root$libdir/pkgconfig
PKG_CONFIG_SYSROOT_DIR=$root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR

if [ -e "$root$libdir/libmempool.so" ]; then
  build "$directory/shared"
  result $? 'a program builds against the shared library'
  LD_LIBRARY_PATH=$root$libdir "$directory/shared" >"$directory/out" 2>&1 && [ "$(cat "$directory/out")" = "$version" ]
  result $? 'and runs, with the version that pkg-config tells'
else
  skip 'a program builds against the shared library' 'configured without shared libraries'
  skip 'and runs, with the version that pkg-config tells' 'configured without shared libraries'
fi
rm -f "$root$libdir"/libmempool.so*
if [ -e "$root$libdir/libmempool.a" ]; then
  build "$directory/static" --static
  result $? 'a program builds against the static library'
  run "$directory/static" >"$directory/out" 2>&1 && [ "$(cat "$directory/out")" = "$version" ]
  result $? 'and runs, with no shared library there'
else
  skip 'a program builds against the static library' 'configured without static libraries'
  skip 'and runs, with no shared library there' 'configured without static libraries'
fi

"$MAKE" uninstall DESTDIR="$root" >"$directory/out" 2>&1
find "$root" ! -type d >"$directory/left"
sed 's/^/left over: /' "$directory/left" >>"$directory/out"
[ ! -s "$directory/left" ]
result $? 'make uninstall leaves nothing behind'
exit $failed
