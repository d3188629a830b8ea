#!/bin/sh
# SPDX-License-Identifier: MIT
# Counts the instructions of a pair of alloc and free, inside the two functions,
# by callgrind: the same figure on every run, however busy the machine.
#   ONE  the program bench/one; default bench/one
set -eu
LC_ALL=C
export LC_ALL
one=${ONE:-bench/one}
command -v valgrind >/dev/null || { echo 'instructions not counted: valgrind is not installed'; exit 0; }
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT

count() { # peer, workload, alloc, free
  pairs=$(valgrind --tool=callgrind --callgrind-out-file="$directory/out" --collect-atstart=no \
    --toggle-collect="$3" --toggle-collect="$4" "$one" "$1" "$2" 2>"$directory/log")
  sed -n 's/^summary: //p' "$directory/out" | awk -v pairs="$pairs" '{ printf "%.1f", $1 / pairs }'
}

echo 'instructions per alloc + free, checks on'
printf '%-12s %8s %8s %8s\n' workload list single default
for workload in hot-pair batch random; do
  printf '%-12s %8s %8s %8s\n' $workload "$(count list $workload unsafe_list_alloc unsafe_list_free)" \
    "$(count single $workload mempool_alloc mempool_free)" "$(count default $workload mempool_alloc mempool_free)"
done
