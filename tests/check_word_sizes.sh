#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A 64-bit and a 32-bit program on one shared pool: each is refused by the
# other's with MEMPOOL_E_CORRUPTED, and leaves it as it is; or it works, both
# ways.  Never anything in between.
#
# Environment: srcdir (the top of the sources), CC.

LC_ALL=C
export LC_ALL
: "${srcdir:=.}"
: "${CC:=cc}"

temporary=$(mktemp -d) || exit 99
trap 'rm -rf "$temporary"' EXIT
trap 'exit 99' HUP INT TERM

skip_all()
{
  echo "1..0 # SKIP $1"
  exit 0
}

[ "${FOR_EMSCRIPTEN-}" != yes ] || skip_all 'there are no processes in WebAssembly'

# Builds the peer as $1 with the command that follows.
build()
{
  output=$temporary/$1
  shift
  "$@" -std=c11 -D_GNU_SOURCE -O1 -pthread "-I$srcdir/include" "$srcdir/tests/word_size_peer.c" "$srcdir"/lib/*.c \
    -o "$output" >"$output.log" 2>&1
}

# Whether the command makes programs of that many bits that run here, and can have shared pools at all.
makes_programs_of()
{
  bits=$1
  shift
  printf '#include <stdatomic.h>\nint main(void) { return sizeof(void *) * 8 == %s && %s ? 0 : 1; }\n' \
    "$bits" 'ATOMIC_LLONG_LOCK_FREE == 2' >"$temporary/probe.c"
  rm -f "$temporary/probe"
  "$@" "$temporary/probe.c" -o "$temporary/probe" >/dev/null 2>&1 && "$temporary/probe" >/dev/null 2>&1
}

# The plain compiler: what else CC says may not be had for the other size.
# shellcheck disable=SC2086
set -- $CC
compiler=$1
makes_programs_of 64 "$compiler" || skip_all 'this compiler makes no 64-bit programs'
if makes_programs_of 32 "$compiler" -m32; then
  small="$compiler -m32"
elif makes_programs_of 32 i686-linux-gnu-gcc -static; then
  small='i686-linux-gnu-gcc -static'
elif makes_programs_of 32 arm-linux-gnueabihf-gcc -static; then
  small='arm-linux-gnueabihf-gcc -static'
else
  skip_all 'no compiler here makes 32-bit programs that run and have lock-free 64-bit atomics'
fi

build 64 "$compiler" || { sed 's/^/# /' "$temporary/64.log"; exit 99; }
# shellcheck disable=SC2086
build 32 $small || { sed 's/^/# /' "$temporary/32.log"; exit 99; }

number=0
failed=0

# Reports a case: it is right if $2 is.
report()
{
  number=$((number + 1))
  if [ "$2" = right ]; then
    echo "ok $number - $1"
  else
    failed=1
    echo "not ok $number - $1"
    echo "# $2"
  fi
}

# What the peer $2 makes of the pool that the peer $1 made.
outcome()
{
  file=$temporary/pool
  rm -f "$file"
  timeout 60 "$temporary/$1" make "$file" || { echo "not made: $?"; return; }
  before=$(cksum <"$file")
  said=$(timeout 60 "$temporary/$2" use "$file")
  status=$?
  if [ "$status" -ne 0 ]; then
    echo "exit status $status"
  elif [ "$said" = refused ] && [ "$before" != "$(cksum <"$file")" ]; then
    echo 'refused, but written to'
  else
    echo "$said"
  fi
}

# Prints "right" if $1 is one of the words that follow.
right_if()
{
  got=$1
  shift
  for word in "$@"; do
    [ "$got" != "$word" ] || { echo right; return; }
  done
  echo "$got"
}

echo 1..5
report '64 bits made, 64 bits attached' "$(right_if "$(outcome 64 64)" works)"
report '32 bits made, 32 bits attached' "$(right_if "$(outcome 32 32)" works)"
small_on_large=$(outcome 64 32)
large_on_small=$(outcome 32 64)
report "64 bits made, 32 bits attached" "$(right_if "$small_on_large" works refused)"
report "32 bits made, 64 bits attached" "$(right_if "$large_on_small" works refused)"
report 'the same both ways' "$(right_if "$small_on_large" "$large_on_small")"
echo "# a 32-bit program on a 64-bit pool: $small_on_large"
exit $failed
