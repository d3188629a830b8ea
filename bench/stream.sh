#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Compares mempool-stream with mbuffer and pv, with blocks and buffers of the
# same size.  Real data on a tmpfs, so that the programs are measured and not
# the disk; runs interleaved, so that what else the machine does hits all of
# them alike; medians.
#
#   MEMPOOL_STREAM  the program; default ./mempool-stream
#   RUNS            of each program in each way; default 9
#   MIB             of data; default 300
#   BLOCK, TOTAL    block and buffer size in bytes; default 131072, 16777216
#   TMPDIR          where the data is put; default /dev/shm if there is one
#
# To know when reading the figures: mempool-stream computes a CRC of all the
# bytes and the others don't.  mbuffer and mempool-stream buffer TOTAL bytes;
# pv holds one block, and between two pipes splice() passes pages on without
# copying them; pv -C is pv without splice().

MEMPOOL_STREAM=${MEMPOOL_STREAM-./mempool-stream}
RUNS=${RUNS:-9}
MIB=${MIB:-300}
BLOCK=${BLOCK:-131072}
TOTAL=${TOTAL:-16777216}
[ -n "${TMPDIR:-}" ] || [ ! -w /dev/shm ] || TMPDIR=/dev/shm

if [ ! -x "$MEMPOOL_STREAM" ]; then
  echo "mempool-stream is missing: it is built where ISA-L is installed" >&2
  exit 77
fi
for tool in mbuffer pv; do
  command -v $tool >/dev/null || {
    echo "$tool is missing: install the package $tool" >&2
    exit 77
  }
done
folder=$(mktemp -d "${TMPDIR:-/tmp}/stream.XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
data=$folder/data
copy=$folder/copy

# What the system's libraries are made of, again and again until it is enough.
make_data() {
  while :; do
    tar -cf - -C / usr/lib 2>/dev/null || [ $? -lt 128 ] || return
  done | head -c $((MIB * 1048576)) >"$data"
}

program() {
  case $1 in
  stream1) "$MEMPOOL_STREAM" -q -j 1 -b "$BLOCK" -n $((TOTAL / BLOCK)) ;;
  stream2) "$MEMPOOL_STREAM" -q -j 2 -b "$BLOCK" -n $((TOTAL / BLOCK)) ;;
  mbuffer) mbuffer -q -s "$BLOCK" -m "$TOTAL" ;;
  pv) pv -q -B "$BLOCK" ;;
  pv-C) pv -C -q -B "$BLOCK" ;;
  esac
}

# run WAY PROGRAM
run() {
  # shellcheck disable=SC2002 # the pipes are what is measured
  case $1 in
  "file > /dev/null") program "$2" <"$data" >/dev/null ;;
  "file > file") program "$2" <"$data" >"$copy" ;;
  "pipe > file") cat "$data" | program "$2" >"$copy" ;;
  "pipe > /dev/null") cat "$data" | program "$2" >/dev/null ;;
  "pipe > pipe") cat "$data" | program "$2" | cat >/dev/null ;;
  esac
}

# Appends the microseconds of one run to a file of its own.
measure() {
  rm -f "$copy"
  start=$(date +%s%N)
  run "$1" "$2" || exit 1
  end=$(date +%s%N)
  [ ! -e "$copy" ] || cmp -s "$data" "$copy" || {
    echo "$2, $1: the copy differs" >&2
    exit 1
  }
  echo $(((end - start) / 1000)) >>"$folder/times.$2"
}

median() {
  sort -n "$folder/times.$1" | awk '{ t[NR] = $1 } END { print NR % 2 ? t[(NR + 1) / 2] : (t[NR / 2] + t[NR / 2 + 1]) / 2 }'
}

programs="stream1 stream2 mbuffer pv pv-C"

measure_way() {
  rm -f "$folder"/times.*
  for name in $programs; do
    run "$1" "$name" # so that none is the first to touch anything
  done
  round=0
  while [ $round -lt "$RUNS" ]; do
    for name in $programs; do
      measure "$1" "$name"
    done
    round=$((round + 1))
  done
  for name in $programs; do
    median "$name"
  done | awk -v way="$1" -v mib="$MIB" '
    { t[NR] = $1 }
    END {
      printf "| %-16s |", way
      for (i = 1; i <= 5; i++) printf " %9.0f |", mib / t[i] * 1000000
      for (i = 3; i <= 5; i++) printf " %7.2f |", t[i] / t[1]
      for (i = 3; i <= 5; i++) printf " %7.2f |", t[i] / t[2]
      print ""
    }'
}

make_data
echo "$MIB MiB, blocks of $BLOCK bytes, buffers of $TOTAL bytes, median of $RUNS interleaved runs."
echo "MiB/s, and how many times as fast mempool-stream is: above 1.00 it is faster."
echo
echo "|                  |      -j 1 |      -j 2 |   mbuffer |        pv |     pv -C | -j 1 : mbuffer |    : pv | : pv -C | -j 2 : mbuffer |    : pv | : pv -C |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|"
for way in "file > /dev/null" "file > file" "pipe > pipe" "pipe > file" "pipe > /dev/null"; do
  measure_way "$way"
done
