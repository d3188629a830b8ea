#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the explorer: build.sh PROGRAM [LIB [OBJECTS]], LIB being the library's
# sources; the explorer's own objects are kept in OBJECTS, and used again.
# They are compiled as they are, with the model's atomics.h in front, and with
# ThreadSanitizer's calls, which the model answers itself.
set -eu
program=$1
here=$(cd "$(dirname "$0")" && pwd)
lib=${2:-$here/../../lib}
objects=$(mktemp -d)
own=${3:-$objects}
trap 'rm -rf "$objects"' EXIT
flags="-std=c11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes
  -Wmissing-prototypes -Wno-missing-field-initializers -Werror -include $here/atomics.h -I$here -I$here/../../include -I$lib"
# shellcheck disable=SC2086
{
  for source in annotate blocks caches care debug geometry hints inspect lock owners pool shared shared_look shared_make status waiters; do
    ${CC:-gcc} $flags -fsanitize=thread -c "$lib/$source.c" -o "$objects/$source.o"
  done
  ${CC:-gcc} $flags -fsanitize=thread -c "$here/statics.c" -o "$objects/statics.o"
  for source in coroutine model search os world litmus scenarios shared_scenarios; do
    [ -f "$own/explore_$source.o" ] || ${CC:-gcc} $flags -O3 -c "$here/$source.c" -o "$own/explore_$source.o"
  done
  [ "$own" = "$objects" ] || cp "$own"/explore_*.o "$objects"
  ${CC:-gcc} -o "$program" "$objects"/*.o
}
