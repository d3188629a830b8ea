#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a benchmark that compares a pool with malloc once for each allocator
# that is installed, put before the C library's by LD_PRELOAD:
#   allocators.sh PROGRAM [ARGUMENT...]
set -u
LC_ALL=C
export LC_ALL

run() { # name, library, program...
  name=$1 library=$2
  shift 2
  echo "malloc: $name"
  LD_PRELOAD=$library "$@"
}

run "the C library's" '' "$@"
for name in jemalloc tcmalloc_minimal tcmalloc mimalloc; do
  library=$(ldconfig -p | sed -n "s/^.*lib$name\.so\.[0-9.]* .*=> //p" | head -n 1)
  if [ -n "$library" ]; then
    run "$name" "$library" "$@"
  else
    echo "malloc: $name is not installed"
  fi
done
