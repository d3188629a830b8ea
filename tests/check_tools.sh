#!/bin/sh
# SPDX-License-Identifier: MIT
#
# What tools that watch a program see of its pools: AddressSanitizer,
# ThreadSanitizer, and Valgrind's memcheck.  The library is the one that was
# built, without any of them; tests/watched.c is compiled with each.  And that
# MEMPOOL_DEBUG has no say in a program with more rights than who starts it.
#
# Environment: srcdir, top_builddir, CC, CFLAGS, PTHREAD_FLAG, TOLD_VALGRIND
# (yes: built with Valgrind's headers), FOR_EMSCRIPTEN.
set -u
LC_ALL=C
export LC_ALL
unset MEMPOOL_DEBUG ASAN_OPTIONS TSAN_OPTIONS VALGRIND_OPTS LD_PRELOAD || :

if [ "$FOR_EMSCRIPTEN" = yes ]; then
  echo '1..0 # SKIP no such tools watch WebAssembly'
  exit 0
fi
case " $CFLAGS " in
*-fsanitize*)
  echo '1..0 # SKIP the library itself was built with a sanitizer'
  exit 0
  ;;
esac

directory=$(mktemp -d) || exit 99
trap 'rm -rf "$directory"' EXIT
trap 'exit 99' HUP INT TERM
number=0
failed=0
echo 1..43

result() { # name
  number=$((number + 1))
  if [ -z "$wrong" ]; then
    echo "ok $number - $1"
  else
    echo "not ok $number - $1: $wrong"
    head -n 40 "$directory/said" | sed 's/^/# /'
    failed=1
  fi
}

skip() { # name, reason
  number=$((number + 1))
  echo "ok $number - $1 # SKIP $2"
}

# The tool as it is installed, without the library.
can_run() { # tool
  case $1 in
  memcheck) command -v valgrind >/dev/null ;;
  *)
    echo 'int main(void) { return 0; }' >"$directory/empty.c"
    # shellcheck disable=SC2086 # several flags
    $CC $PTHREAD_FLAG "-fsanitize=$1" "$directory/empty.c" -o "$directory/empty" >/dev/null 2>&1 && "$directory/empty"
    ;;
  esac
}

# Without what Debian 12's Valgrind can't read if it is clang's: debugging information.
mkdir "$directory/libraries"
for file in libmempool.a libmempool.so.0; do
  [ ! -e "$top_builddir/.libs/$file" ] || objcopy --strip-debug "$top_builddir/.libs/$file" "$directory/libraries/$file"
done
[ ! -e "$directory/libraries/libmempool.so.0" ] || ln -s libmempool.so.0 "$directory/libraries/libmempool.so"

build() { # tool, kind of library
  case $1 in memcheck) flags= ;; *) flags=-fsanitize=$1 ;; esac
  case $2 in
  static) library=$directory/libraries/libmempool.a ;;
  shared) library="-L$directory/libraries -lmempool -Wl,-rpath,$directory/libraries" ;;
  esac
  # shellcheck disable=SC2086 # several flags
  $CC -gdwarf-4 -O1 $PTHREAD_FLAG $flags -I"$srcdir/include" "$srcdir/tests/watched.c" $library -o "$directory/$1-$2" >"$directory/said" 2>&1
}

run() { # tool, kind, case
  case $1 in
  memcheck)
    valgrind --quiet --leak-check=full --error-exitcode=9 "$directory/$1-$2" "$3" >"$directory/said" 2>&1
    ;;
  *) "$directory/$1-$2" "$3" >"$directory/said" 2>&1 ;;
  esac
  status=$?
}

# Other tools of Valgrind see what the program does without them.
unchanged() { # kind
  wrong=
  valgrind --quiet --tool=none "$directory/memcheck-$1" unwatched >"$directory/said" 2>&1 || wrong="exit status $?"
  result "Valgrind without memcheck, $1: pools are as ever"
}

# Nothing is reported.
quiet() { # tool, kind, case
  wrong=
  run "$1" "$2" "$3"
  { [ $status -eq 0 ] && [ ! -s "$directory/said" ]; } || wrong="exit status $status, and this was said"
  result "$1, $2: $3: nothing reported"
}

# Nothing is told.
hidden() { # tool, kind, case
  wrong=
  MEMPOOL_DEBUG=hide
  export MEMPOOL_DEBUG
  run "$1" "$2" "$3"
  unset MEMPOOL_DEBUG
  { [ $status -eq 0 ] && [ ! -s "$directory/said" ]; } || wrong="exit status $status, and this was said"
  result "$1, $2: $3: hidden"
}

# The one thing that is wrong is.
loud() { # tool, kind, case, words
  wrong=
  run "$1" "$2" "$3"
  { [ $status -ne 0 ] && grep -q -e "$4" "$directory/said" && grep -q "$3" "$directory/said"; } ||
    wrong="exit status $status, and not: $4"
  result "$1, $2: $3: $4"
}

all() { # tool, kind
  if [ "$2" = shared ] && [ ! -e "$directory/libraries/libmempool.so" ]; then
    reason='there is no shared library'
  elif [ "$2" = static ] && [ ! -e "$directory/libraries/libmempool.a" ]; then
    reason='there is no static library'
  elif ! can_run "$1"; then
    reason="no $1 here"
  elif [ "$1" = memcheck ] && [ "$TOLD_VALGRIND" != yes ]; then
    reason='built without the headers of Valgrind'
  else
    reason=
  fi
  if [ -n "$reason" ]; then
    case $1 in address) count=10 ;; memcheck) count=13 ;; thread) count=4 ;; esac
    while [ $count -gt 0 ]; do
      skip "$1, $2" "$reason"
      count=$((count - 1))
    done
    return
  fi
  if ! build "$1" "$2"; then
    wrong='does not build'
    result "$1, $2"
    return
  fi
  case $1 in
  address)
    quiet address "$2" orderly
    quiet address "$2" used_again
    quiet address "$2" pointed_to
    quiet address "$2" forked_orderly
    loud address "$2" forked_read_after_free 'use-after-poison'
    loud address "$2" use_after_free 'use-after-poison'
    loud address "$2" read_after_free 'use-after-poison'
    loud address "$2" overrun 'use-after-poison'
    loud address "$2" never_taken 'use-after-poison'
    hidden address "$2" never_taken
    ;;
  memcheck)
    quiet memcheck "$2" orderly
    quiet memcheck "$2" used_again
    quiet memcheck "$2" pointed_to
    quiet memcheck "$2" forked_orderly
    loud memcheck "$2" forked_read_after_free 'Invalid read of size 1'
    loud memcheck "$2" use_after_free 'Invalid write of size 1'
    loud memcheck "$2" read_after_free 'Invalid read of size 1'
    loud memcheck "$2" overrun 'Invalid write of size 1'
    loud memcheck "$2" never_taken 'Invalid read of size 1'
    hidden memcheck "$2" never_taken
    loud memcheck "$2" uninitialised 'uninitialised value'
    loud memcheck "$2" leak '64 bytes in 1 blocks are definitely lost'
    unchanged "$2"
    ;;
  thread)
    quiet thread "$2" handed_over
    quiet thread "$2" recovered_by_another
    loud thread "$2" use_after_free_by_another 'data race'
    hidden thread "$2" use_after_free_by_another
    ;;
  esac
}

for tool in address thread; do
  all $tool static
  all $tool shared
done
# What tells memcheck is in the library's own code, however that is linked.
if [ -e "$directory/libraries/libmempool.so" ]; then
  all memcheck shared
else
  all memcheck static
fi

name='MEMPOOL_DEBUG is heeded'
if ! $CC $PTHREAD_FLAG -I"$srcdir/include" "$srcdir/tests/watched.c" "$top_builddir/.libs/libmempool.a" -o "$directory/plain" \
  >"$directory/said" 2>&1; then
  skip "$name" 'there is no static library'
  skip "$name, but not in a set-uid program" 'there is no static library'
  exit $failed
fi
wrong=
{ MEMPOOL_DEBUG=check "$directory/plain" free_twice 2>"$directory/said" && grep -q 'already freed' "$directory/said"; } ||
  wrong='nothing was said'
result "$name"
if [ "$(id -u)" -eq 0 ] && chmod 755 "$directory" && chown nobody "$directory/plain" && chmod u+s "$directory/plain" &&
  ! MEMPOOL_DEBUG=check "$directory/plain" 2>/dev/null; then
  wrong=
  MEMPOOL_DEBUG=check,unknown "$directory/plain" free_twice 2>"$directory/said" || wrong='it ended badly'
  [ ! -s "$directory/said" ] || wrong='something was said'
  result "$name, but not in a set-uid program"
else
  skip "$name, but not in a set-uid program" 'only root can make one that is set to another'
fi

exit $failed
