#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Checks what the library takes from elsewhere: no allocator, nothing that
# ends the process or formats text but for mempool_dump(); and that taking and
# freeing blocks needs nothing at all from outside of the library.
#
# Environment: top_builddir (the top of the build), MEMPOOL_ARCHIVE (the
# library's objects, if they aren't where libtool puts them), CFLAGS, NM.

LC_ALL=C
export LC_ALL

: "${top_builddir:=.}"
: "${NM:=nm}"

pages='mmap mmap64 munmap mprotect madvise sysconf __sysconf'
clock='nanosleep clock_gettime clock_gettime64 __clock_gettime64'
futex='syscall __errno_location'
# Instead of the futex.
conditions='pthread_once pthread_mutex_lock pthread_mutex_unlock pthread_setcancelstate
  pthread_cond_init pthread_cond_wait pthread_cond_timedwait __pthread_cond_timedwait64 pthread_cond_broadcast
  pthread_condattr_init pthread_condattr_setclock pthread_condattr_destroy'
# Threads that end, and forks; letting others run while a cache is in use.
threads='pthread_key_create pthread_setspecific pthread_atfork __register_atfork __dso_handle sched_yield'
# In WebAssembly the one allocator stands for the system, and threads sleep by calls of Emscripten's.
emscripten='aligned_alloc free emscripten_get_heap_max emscripten_futex_wait emscripten_futex_wake
  __stack_pointer __memory_base __table_base __indirect_function_table __linear_memory __tls_base'
bytes='memset memcpy memmove memcmp bcmp strncpy'
# Which processes exist, and since when.
processes='getpid kill readlink open open64 read close strlen strchr strrchr strcpy strtoul strtoull __isoc23_strtoul
  __isoc23_strtoull
  stpcpy'
# MEMPOOL_DEBUG, and what is said then; the calls of sanitizers, where a program has some.
debug='secure_getenv getenv getuid geteuid getgid getegid write strcspn'
tools='__asan_poison_memory_region __asan_unpoison_memory_region
  __lsan_register_root_region __lsan_unregister_root_region __tsan_acquire __tsan_release __tsan_write_range'
# mempool_dump(), which writes to the stream that it is given.
stream='fprintf fiprintf fwrite fputs fputc putc'
own='mempool__*'
# What compilers add of their own accord: checked variants, stack protection, addresses, atomics out of line.
compilers='__memset_chk __memcpy_chk __strncpy_chk __fprintf_chk __stack_chk_fail __stack_chk_fail_local
  __stack_chk_guard _GLOBAL_OFFSET_TABLE_ __x86.get_pc_thunk.* __aarch64_*'

temporary=$(mktemp -d) || exit 99
trap 'rm -rf "$temporary"' EXIT
trap 'exit 99' HUP INT TERM

number=0
failed=0

# Reports the case $1: it failed if the file of diagnostics $2 is not empty.
report()
{
  number=$((number + 1))
  if [ -s "$2" ]; then
    failed=1
    echo "not ok $number - $1"
    sed 's/^/# /' "$2"
  else
    echo "ok $number - $1"
  fi
}

# Prints "member name" for each symbol of the archive that nm tells about with the options given.
symbols()
{
  "$NM" -P "$@" "$archive" | awk '
    /:$/ { member = $0; sub(/]?:$/, "", member); sub(/.*[[\/]/, "", member); next }
    NF > 0 { print member, $1 }
  '
}

# Prints those lines of the file $1 the name of which none of the patterns in the other arguments matches.
others()
{
  file=$1
  shift
  while read -r member name; do
    for pattern in "$@"; do
      # shellcheck disable=SC2254 # a pattern is meant
      case $name in
      $pattern) continue 2 ;;
      esac
    done
    echo "$member needs $name"
  done <"$file"
}

every='the library needs nothing but what is listed'
blocks='taking and freeing blocks needs nothing but the library itself'

reason=
case ${CFLAGS-} in
*-fsanitize*) reason='sanitizers add calls of their own' ;;
*--coverage* | *-fprofile* | *-pg*) reason='profiling adds calls of its own' ;;
*-flto*) reason='the objects are not compiled before they are linked' ;;
esac
archive=${MEMPOOL_ARCHIVE-}
if [ -z "$archive" ]; then
  for archive in "$top_builddir/.libs/librooms.a" "$top_builddir/librooms.a" "$top_builddir/.libs/libmempool.a"; do
    [ ! -r "$archive" ] || break
  done
fi
if [ -z "$reason" ] && [ ! -r "$archive" ]; then
  reason="there is no archive of the library's objects"
elif [ -z "$reason" ] && ! command -v "$NM" >/dev/null 2>&1; then
  reason="$NM is not installed"
fi

echo 1..2
if [ -n "$reason" ]; then
  echo "ok 1 - $every # SKIP $reason"
  echo "ok 2 - $blocks # SKIP $reason"
  exit 0
fi

symbols -u >"$temporary/needed"
symbols -g | sort -u >"$temporary/all"
# A name is the library's own if one of its members defines it.
sort -u "$temporary/needed" >"$temporary/sorted"
comm -23 "$temporary/all" "$temporary/sorted" | awk '{ print $2 }' | sort -u >"$temporary/defined"
awk 'FILENAME == ARGV[1] { defined[$1]; next } !($2 in defined)' "$temporary/defined" "$temporary/needed" \
  >"$temporary/imported"

set -f # patterns stay as they are
[ "${FOR_EMSCRIPTEN-}" = yes ] || emscripten=
# shellcheck disable=SC2086 # several patterns
others "$temporary/imported" $emscripten $pages $clock $futex $threads $conditions $bytes $processes $debug $tools \
  $stream $compilers >"$temporary/wrong"
[ -s "$temporary/imported" ] || echo "nothing found in the archive" >>"$temporary/wrong"
report "$every" "$temporary/wrong"

sed -n '/blocks\.o /p' "$temporary/needed" >"$temporary/needed_by_blocks"
# shellcheck disable=SC2086
others "$temporary/needed_by_blocks" $own memset memcpy $compilers __stack_pointer __tls_base >"$temporary/wrong"
# What the library doesn't define isn't its own, whatever it is called.
awk 'FILENAME == ARGV[1] { defined[$1]; next } $2 ~ /^mempool/ && !($2 in defined) { print $1 " needs " $2 }' \
  "$temporary/defined" "$temporary/needed_by_blocks" >>"$temporary/wrong"
[ -s "$temporary/needed_by_blocks" ] || echo "nothing found in blocks.o" >>"$temporary/wrong"
report "$blocks" "$temporary/wrong"

exit "$failed"
