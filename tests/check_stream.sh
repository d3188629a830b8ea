#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs mempool-stream as its users would, in good and in bad conditions, and
# reports in TAP.
#
#   MEMPOOL_STREAM  the program; default ./mempool-stream; empty if it was not built
#   WRAPPER         put before it, such as "valgrind -q --error-exitcode=9"
#   CC              compiles a shim that injects faults; default cc
#   CASE_TIMEOUT    seconds until a case counts as hung; default 60
#
# Each case is a function test_*, run by this script in a process of its own
# under timeout(1).  It passes if it returns 0; 77 skips it.

MEMPOOL_STREAM=${MEMPOOL_STREAM-./mempool-stream}
WRAPPER=${WRAPPER:-}
CC=${CC:-cc}
CASE_TIMEOUT=${CASE_TIMEOUT:-60}
export MEMPOOL_STREAM WRAPPER CC CASE_TIMEOUT

# ---- What the cases are made of ----

# The program, its standard error in the file err.
stream() {
  # shellcheck disable=SC2086 # WRAPPER is words, or nothing
  $WRAPPER "$MEMPOOL_STREAM" "$@" 2>err
}

fail() {
  echo "$*"
  [ ! -s err ] || sed 's/^/stderr: /' err
  exit 1
}

skip() {
  echo "$*"
  exit 77
}

# expect_status WANTED GOT
expect_status() {
  [ "$2" -eq "$1" ] || fail "exit status $2 instead of $1"
}

expect_error() {
  grep -q -- "$1" err || fail "no '$1' in the message"
}

expect_same() {
  cmp "$1" "$2" || fail "$1 and $2 differ"
}

summary_crc() {
  sed -n 's/.*CRC-32C \([0-9a-f]\{8\}\)$/\1/p' err
}

summary_bytes() {
  sed -n 's/.*: \([0-9]*\) bytes in .*/\1/p' err
}

summary_waits() {
  sed -n 's/.*reading waited \([0-9]*\) times$/\1/p' err
}

# Bit by bit, from the definition: nothing in common with how the program does it.
reference_crc() {
  perl -0777 -ne '
    my $crc = 0xffffffff;
    for my $byte (unpack "C*", $_) {
      $crc ^= $byte;
      for (1 .. 8) { $crc = $crc & 1 ? ($crc >> 1) ^ 0x82f63b78 : $crc >> 1 }
    }
    END { printf "%08x\n", $crc ^ 0xffffffff }' <"$1"
}

need() {
  command -v "$1" >/dev/null || skip "$1 is not installed"
}

random_bytes() {
  head -c "$1" /dev/urandom
}

# Until a condition holds; the time-out of the case is what ends it otherwise.
until_true() {
  until "$@"; do :; done
}

# copy_is_good FILE OPTION...: the output and what the summary says are right.
copy_is_good() {
  copied=$1
  shift
  stream "$@" <"$copied" >out
  expect_status 0 $?
  expect_same "$copied" out
  [ "$(summary_bytes)" = "$(wc -c <"$copied" | tr -d ' ')" ] || fail "$*: wrong number of bytes"
}

# Copies SIZE bytes in several ways, and compares the CRC with the reference.
copy_size() {
  random_bytes "$1" >in
  crc=$(reference_crc in)
  for jobs in 1 2 4; do
    copy_is_good in -b 4096 -n 8 -j $jobs
    [ "$(summary_crc)" = "$crc" ] || fail "-j $jobs: CRC $(summary_crc) instead of $crc"
  done
}

# ---- Copying ----

test_empty_input() {
  stream </dev/null >out
  expect_status 0 $?
  [ ! -s out ] || fail "there is output"
  [ "$(summary_bytes)" = 0 ] || fail "wrong number of bytes"
  [ "$(summary_crc)" = 00000000 ] || fail "CRC $(summary_crc) of nothing"
}

test_crc_known_value() {
  printf 123456789 >in
  for size in 1 2 3 8 9 10; do
    copy_is_good in -b $size
    [ "$(summary_crc)" = e3069283 ] || fail "-b $size: CRC $(summary_crc) instead of e3069283"
  done
}

test_one_byte() { copy_size 1; }
test_one_block() { copy_size 4096; }
test_one_block_less_1() { copy_size 4095; }
test_one_block_and_1() { copy_size 4097; }
test_pool_exactly_full() { copy_size 32768; }
test_pool_exactly_full_less_1() { copy_size 32767; }
test_pool_exactly_full_and_1() { copy_size 32769; }
test_more_than_pool() { copy_size 163840; }

test_blocks_of_one_byte() {
  random_bytes 3000 >in
  crc=$(reference_crc in)
  for jobs in 1 2 4; do
    copy_is_good in -b 1 -n 5 -j $jobs
    [ "$(summary_crc)" = "$crc" ] || fail "-j $jobs: CRC $(summary_crc) instead of $crc"
  done
}

test_sizes_and_jobs_agree() {
  random_bytes 5000011 >in
  crc=
  for block in 4096 65537 1M 7M; do
    for jobs in 1 2 4; do
      copy_is_good in --block-size=$block --blocks=5 --jobs=$jobs
      : "${crc:=$(summary_crc)}"
      [ "$(summary_crc)" = "$crc" ] || fail "-b $block -j $jobs: CRC $(summary_crc), before it was $crc"
    done
  done
}

test_more_blocks_than_data() {
  random_bytes 10000 >in
  copy_is_good in -b 4k -n 1000
  grep -q ' of 1000 blocks in use' err || fail "the summary does not tell the blocks"
}

test_single_block() {
  random_bytes 300000 >in
  for jobs in 1 4; do
    copy_is_good in -b 1000 -n 1 -j $jobs
    grep -q 'at most 1 of 1 blocks' err || fail "more blocks in use than there are"
  done
}

test_pipes_both_sides() {
  random_bytes 3000001 >in
  # shellcheck disable=SC2002 # the pipe is what is tested
  cat in | stream -b 64k -n 4 -j 2 | cat >out
  expect_same in out
}

# ---- Pace ----

test_slow_input_in_dribbles() {
  random_bytes 5000 >in
  # shellcheck disable=SC2002 # the pipe is what is tested
  cat in | dd bs=1 2>/dev/null | stream -b 4096 -n 2 >out
  expect_same in out
  [ "$(summary_crc)" = "$(reference_crc in)" ] || fail "wrong CRC"
}

test_slow_output_in_dribbles() {
  random_bytes 200000 >in
  stream -b 4096 -n 2 -j 2 <in | dd bs=7 2>/dev/null >out
  expect_same in out
}

test_fifos_opened_by_a_shell_loop() {
  mkfifo in_fifo out_fifo
  stream -b 5 -n 2 <in_fifo >out_fifo &
  pid=$!
  for word in one two three four five six; do echo $word; done >in_fifo &
  while read -r word; do echo "$word"; done <out_fifo >out
  wait $pid
  expect_status 0 $?
  printf 'one\ntwo\nthree\nfour\nfive\nsix\n' | cmp - out || fail "lines are lost"
}

# The state letter of each thread of process $1, in one word.
thread_states() {
  sed 's/.*) \(.\).*/\1/' /proc/"$1"/task/*/stat 2>/dev/null | tr -d '\n'
}

all_sleep() {
  case $(thread_states "$1") in
  '' | *[!S]*) return 1 ;;
  esac
}

input_position() {
  sed -n 's/^pos:[^0-9]*//p' /proc/"$1"/fdinfo/0 2>/dev/null
}

# Every thread sleeps, and the input has been read, but not to its end.
is_stuck() {
  position=$(input_position "$1")
  for _ in 1 2 3; do
    all_sleep "$1" || return 1
  done
  [ "${position:-0}" -gt 0 ] && [ "$position" = "$(input_position "$1")" ]
}

# Nobody reads the output until every thread sleeps: as a file never keeps its
# reader waiting, that reader then waits for a block.
test_reader_waits_for_slow_output() {
  [ -r /proc/self/fdinfo/0 ] || skip "no /proc/PID/fdinfo"
  [ -z "$WRAPPER" ] || skip "a wrapper's threads can't be told from the program's"
  random_bytes 8000000 >in
  mkfifo out_fifo
  "$MEMPOOL_STREAM" -b 64k -n 2 <in >out_fifo 2>err &
  pid=$!
  exec 3<out_fifo
  until_true is_stuck $pid
  [ "$(input_position $pid)" -lt 8000000 ] || fail "the pool held nothing back"
  cat <&3 >out
  wait $pid
  expect_status 0 $?
  expect_same in out
  [ "$(summary_waits)" -gt 0 ] || fail "the reader never waited"
  grep -q 'at most 2 of 2 blocks' err || fail "not every block was in use"
}

is_stopped() {
  case $(thread_states "$1") in
  T*) return 0 ;;
  *) return 1 ;;
  esac
}

test_stop_and_continue() {
  [ -r /proc/self/stat ] || skip "no /proc"
  mkfifo in_fifo out_fifo
  # shellcheck disable=SC2086 # WRAPPER is words, or nothing
  $WRAPPER "$MEMPOOL_STREAM" -b 4 -n 3 -j 2 <in_fifo >out_fifo 2>err &
  pid=$!
  exec 4>in_fifo 3<out_fifo
  printf abcd >&4
  [ "$(dd bs=1 count=4 <&3 2>/dev/null)" = abcd ] || fail "the first block did not come"
  kill -STOP $pid
  until_true is_stopped $pid
  printf efghijklm >&4
  kill -CONT $pid
  exec 4>&-
  [ "$(cat <&3)" = efghijklm ] || fail "what came while it was stopped is lost"
  wait $pid
  expect_status 0 $?
}

test_nonblocking_input_and_output() {
  random_bytes 2000003 >in
  cat >nonblocking.pl <<'END'
use Fcntl;
for my $handle (*STDIN, *STDOUT) {
  fcntl($handle, F_SETFL, fcntl($handle, F_GETFL, 0) | O_NONBLOCK) or die;
}
exec @ARGV or die;
END
  # shellcheck disable=SC2002,SC2086 # the pipe is what is tested; WRAPPER is words
  cat in | dd bs=333 2>/dev/null |
    perl nonblocking.pl $WRAPPER "$MEMPOOL_STREAM" -b 10000 -n 3 2>err | dd bs=777 2>/dev/null >out
  expect_same in out
  [ "$(summary_bytes)" = 2000003 ] || fail "wrong number of bytes"
}

# ---- Faults ----

# Builds a shim that makes system calls fail by turns, as SHIM says.  It logs
# that it did, so that a case can't pass because it had no effect.
build_shim() {
  [ -z "$WRAPPER" ] || skip "the shim would get into the wrapper"
  cat >shim.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is(const char *fault)
{
  const char *wanted = getenv("SHIM");
  return wanted != NULL && strcmp(wanted, fault) == 0;
}

static void log_fault(void)
{
  int fd = open("shim.log", O_WRONLY | O_CREAT, 0600);
  if (fd > 2)
    ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
}

ssize_t read(int fd, void *to, size_t size)
{
  static int turn;
  if (fd == 0 && is("eintr") && turn++ % 2 == 0) {
    log_fault();
    errno = EINTR;
    return -1;
  }
  if (fd == 0 && is("read-eio") && size > 300)
    size = 300;
  if (fd == 0 && is("read-eio") && turn++ == 5) {
    log_fault();
    errno = EIO;
    return -1;
  }
  if (fd == 0 && is("short") && size > 0) {
    log_fault();
    size = 1 + (size_t)turn++ % (size < 3000 ? size : 3000);
  }
  return ((ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read"))(fd, to, size);
}

ssize_t write(int fd, const void *from, size_t size)
{
  static int turn;
  if (fd == 1 && is("eintr") && turn++ % 2 == 0) {
    log_fault();
    errno = EINTR;
    return -1;
  }
  if (fd == 1 && is("write-enospc") && turn++ == 2) {
    log_fault();
    errno = ENOSPC;
    return -1;
  }
  if (fd == 1 && is("short") && size > 0)
    size = 1 + (size_t)turn++ % (size < 3000 ? size : 3000);
  return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, from, size);
}

int close(int fd)
{
  int result = ((int (*)(int))dlsym(RTLD_NEXT, "close"))(fd);
  if (fd == 1 && is("close-eio")) {
    log_fault();
    errno = EIO;
    return -1;
  }
  return result;
}
END
  $CC -shared -fPIC -o shim.so shim.c -ldl 2>cc.log || skip "$CC can't build a shared library"
}

# with_shim FAULT OPTION...
with_shim() {
  fault=$1
  shift
  rm -f shim.log
  SHIM=$fault LD_PRELOAD=$PWD/shim.so "$MEMPOOL_STREAM" "$@" 2>err
}

shim_worked() {
  [ -e shim.log ] || skip "the shim had no effect: a static program, or a sanitizer"
}

test_interrupted_calls() {
  build_shim
  random_bytes 1000001 >in
  with_shim eintr -b 10000 -n 3 -j 2 <in >out
  status=$?
  shim_worked
  expect_status 0 $status
  expect_same in out
}

test_short_reads_and_writes() {
  build_shim
  random_bytes 1000001 >in
  with_shim short -b 10000 -n 3 -j 2 <in >out
  status=$?
  shim_worked
  expect_status 0 $status
  expect_same in out
  [ "$(summary_bytes)" = 1000001 ] || fail "wrong number of bytes"
}

test_read_error_keeps_what_was_read() {
  build_shim
  random_bytes 100000 >in
  with_shim read-eio -b 1000 -n 8 <in >out
  status=$?
  shim_worked
  expect_status 1 $status
  expect_error 'read standard input: Input/output error'
  head -c 1300 in | cmp - out || fail "not the block and the part of one that were read"
}

test_write_error_midway() {
  build_shim
  random_bytes 100000 >in
  with_shim write-enospc -b 1000 -n 8 -j 3 <in >out
  status=$?
  shim_worked
  expect_status 1 $status
  expect_error 'after 2000 bytes: No space left'
}

test_close_error_is_told() {
  build_shim
  with_shim close-eio <shim.c >out
  status=$?
  shim_worked
  expect_status 1 $status
  expect_error 'finish standard output: Input/output error'
}

test_closed_input() {
  stream >out <&-
  expect_status 1 $?
  expect_error 'standard input is closed'
  [ ! -s out ] || fail "there is output"
}

test_closed_output() {
  stream </dev/null >&-
  expect_status 1 $?
  expect_error 'standard output is closed'
}

test_input_is_a_directory() {
  stream <. >out
  expect_status 1 $?
  expect_error 'read standard input: Is a directory'
}

test_input_is_write_only() {
  stream 0>in >out
  expect_status 1 $?
  expect_error 'read standard input: Bad file descriptor'
}

test_output_is_read_only() {
  random_bytes 10 >in
  : >out
  stream <in 1<out
  expect_status 1 $?
  expect_error 'write standard output, after 0 bytes: Bad file descriptor'
}

test_output_full() {
  [ -c /dev/full ] || skip "no /dev/full"
  for jobs in 1 4; do
    random_bytes 1000000 | stream -b 4096 -n 4 -j $jobs >/dev/full
    expect_status 1 $?
    expect_error 'No space left on device'
  done
}

test_output_over_size_limit() {
  random_bytes 1000000 >in
  (
    ulimit -f 20 2>/dev/null || skip "file sizes can't be limited"
    stream -b 4096 -n 4 <in >out
    expect_status 1 $?
    expect_error 'write standard output, after [0-9]* bytes: File too large'
  )
}

test_output_reader_leaves() {
  for jobs in 1 4; do
    {
      yes | stream -b 4096 -n 4 -j $jobs
      echo $? >status
    } | head -c 1 >out
    expect_status 1 "$(cat status)"
    expect_error 'Broken pipe'
  done
}

# The writer's failure must also end a reader that waits for input which never
# comes: this shell holds the writing end of the fifo open and writes no more.
test_output_fails_while_input_is_idle() {
  [ -c /dev/full ] || skip "no /dev/full"
  mkfifo in_fifo
  for jobs in 1 4; do
    stream -b 4 -n 4 -j $jobs <in_fifo >/dev/full &
    pid=$!
    exec 4>in_fifo
    printf 123456 >&4
    wait $pid
    expect_status 1 $?
    exec 4>&-
    expect_error 'No space left on device'
  done
}

test_pool_too_large() {
  stream -b 8000000000G -n 4 </dev/null >out
  expect_status 1 $?
  expect_error "can't make a pool of 4 blocks"
}

test_too_many_threads() {
  [ -z "$WRAPPER" ] || skip "the wrapper needs memory of its own"
  # shellcheck disable=SC3045 # where ulimit has no -v the case is skipped
  ulimit -v 300000 2>/dev/null || skip "address space can't be limited"
  "$MEMPOOL_STREAM" --version >out 2>&1 || skip "a sanitizer needs memory of its own"
  stream -j 256 -n 4 </dev/null >out
  expect_status 1 $?
  expect_error "can't start 257 threads"
}

# ---- Options ----

# bad_options WORDS OPTION...: refused with the words, and with a hint.
bad_options() {
  words=$1
  shift
  stream "$@" </dev/null >out
  expect_status 2 $?
  expect_error "$words"
  expect_error "try 'mempool-stream --help'"
  [ ! -s out ] || fail "there is output"
}

test_bad_block_size() {
  for value in 0 -1 '' x 12q 1kk ' 1' +1 1.5 99999999999999999999 9999999999G; do
    bad_options "block-size: '$value' is not a number from 1 to" -b "$value"
  done
}

test_bad_blocks() {
  for value in 0 -1 '' many 4294967295 4G; do
    bad_options "blocks: '$value' is not a number from 1 to 4294967294" --blocks="$value"
  done
}

test_bad_jobs() {
  for value in 0 -1 '' 257 1k; do
    bad_options "jobs: '$value' is not a number from 1 to 256" -j "$value"
  done
}

test_unknown_option() {
  bad_options "invalid option -- 'z'" -z
  bad_options "unrecognized option '--fast'" --fast
}

test_missing_value() {
  bad_options "requires an argument -- 'b'" -b
  bad_options "'--jobs' requires an argument" --jobs
}

test_unexpected_argument() {
  bad_options "unexpected argument 'in'" -q in
}

test_help() {
  stream --help >out
  expect_status 0 $?
  [ ! -s err ] || fail "something on standard error"
  for word in --block-size --blocks --jobs --quiet --version 'five'; do
    grep -q -- "$word" out || fail "no word of $word"
  done
}

test_version() {
  stream --version >out
  expect_status 0 $?
  grep -q '^mempool-stream (libmempool) [0-9][0-9.]*$' out || fail "odd version: $(cat out)"
}

test_help_to_full_output() {
  [ -c /dev/full ] || skip "no /dev/full"
  stream --help >/dev/full
  expect_status 1 $?
  expect_error 'No space left on device'
}

test_quiet_is_silent() {
  random_bytes 10000 >in
  copy_quietly() {
    stream "$@" <in >out
    expect_status 0 $?
    expect_same in out
    [ ! -s err ] || fail "$*: something on standard error"
  }
  copy_quietly -q
  copy_quietly --quiet -j 2
}

test_verbose_shows_statistics() {
  head -c 300000 /dev/urandom >in
  stream --verbose -b 4k -n 8 <in >out || fail "status $?"
  cmp in out || fail 'the copy differs'
  grep -q '^mempool "mempool-stream": 8 blocks of 4096 bytes$' err || fail 'no statistics of the pool'
  grep -q 'used 0, available 8' err || fail 'not every block is back'
}

test_quiet_tells_errors() {
  stream -q <. >out
  expect_status 1 $?
  expect_error 'Is a directory'
}

# ---- Progress ----

# Runs the words given as one shell command with a terminal as standard error.
on_terminal() {
  script -qefc "$1" typescript >/dev/null </dev/null || fail "exit status $?: $(cat typescript)"
}

test_progress_on_terminal() {
  need script
  random_bytes 100000 >in
  on_terminal "$WRAPPER '$MEMPOOL_STREAM' -b 1000 -n 7 <in >out"
  expect_same in out
  grep -q 'MiB/s, [0-9]* of 7 blocks in use' typescript || fail "no progress: $(cat typescript)"
  grep -q 'CRC-32C' typescript || fail "no summary: $(cat typescript)"
}

# The second line of progress comes while the input is still open.
test_progress_goes_on() {
  need script
  mkfifo in_fifo
  (on_terminal "$WRAPPER '$MEMPOOL_STREAM' -b 1 <in_fifo >out") &
  pid=$!
  exec 4>in_fifo
  printf 1234 >&4
  # shellcheck disable=SC2317 # called by until_true
  at_least_two() { [ "$(grep -o 'blocks in use' typescript 2>/dev/null | wc -l)" -ge 2 ]; }
  until_true at_least_two
  exec 4>&-
  wait $pid
  expect_status 0 $?
  [ "$(cat out)" = 1234 ] || fail "wrong output"
}

test_no_progress_elsewhere() {
  random_bytes 100000 >in
  copy_is_good in -b 1000 -n 7
  [ "$(wc -l <err)" -eq 2 ] || fail "more than the summary's two lines"
  ! grep -q "$(printf '\r')" err || fail "progress though there is no terminal"
}

test_no_progress_when_quiet() {
  need script
  random_bytes 100000 >in
  on_terminal "$WRAPPER '$MEMPOOL_STREAM' -q <in >out"
  expect_same in out
  ! grep -q 'MiB' typescript || fail "not quiet: $(cat typescript)"
}

# ---- Running them ----

absolute() {
  case $1 in
  /*) echo "$1" ;;
  *) echo "$PWD/$1" ;;
  esac
}

# The cases run in folders of their own, where ./libtool, say, would not be found.
absolute_words() {
  for word in $1; do
    case $word in
    */*) [ ! -e "$word" ] || word=$(absolute "$word") ;;
    esac
    printf '%s ' "$word"
  done
}

# run_case NAME NUMBER: in a process group of its own, in an empty folder, so that a hang ends with all its processes.
run_case() {
  name=$1
  words=$(echo "${name#test_}" | tr _ ' ')
  mkdir "$folder/$name"
  (cd "$folder/$name" && timeout -k 5 "$CASE_TIMEOUT" sh "$script" --case "$name") >"$folder/log" 2>&1
  case $? in
  0) echo "ok $2 - $words" ;;
  77) echo "ok $2 - $words # SKIP $(tail -n 1 "$folder/log")" ;;
  124 | 137) report_failure "$2" "hung for $CASE_TIMEOUT seconds" ;;
  *) report_failure "$2" "" ;;
  esac
  rm -rf "${folder:?}/$name"
}

report_failure() {
  echo "not ok $1 - $words"
  [ -z "$2" ] || echo "# $2"
  sed 's/^/# /' "$folder/log"
  failures=$((failures + 1))
}

if [ "${1:-}" = --case ]; then
  "$2"
  exit
fi

if [ -z "$MEMPOOL_STREAM" ]; then
  echo "1..0 # SKIP mempool-stream was not built: it needs ISA-L"
  exit 0
fi
if [ ! -x "$MEMPOOL_STREAM" ]; then
  echo "Bail out! $MEMPOOL_STREAM can't be run"
  exit 99
fi
script=$(absolute "$0")
MEMPOOL_STREAM=$(absolute "$MEMPOOL_STREAM")
[ -z "$WRAPPER" ] || WRAPPER=$(absolute_words "$WRAPPER")
LC_ALL=C
export LC_ALL
failures=0
cases=${*:-$(sed -n 's/^\(test_[a-z0-9_]*\)() .*/\1/p' "$script")}
folder=$(mktemp -d) || exit 99
trap 'rm -rf "$folder"' EXIT
trap 'exit 99' HUP INT TERM

# shellcheck disable=SC2086 # a list of words
set -- $cases
echo "1..$#"
number=0
for name in "$@"; do
  number=$((number + 1))
  run_case "$name" $number
done
[ $failures -eq 0 ]
