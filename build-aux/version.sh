#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the version, MAJOR.MINOR.PATCH, out of include/mempool.h: the only place where it is edited.
set -eu
sed -n 's/^#define MEMPOOL_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9][0-9]*\)$/\2/p' "${0%/*}/../include/mempool.h" |
  paste -sd. - | tr -d '\n'
