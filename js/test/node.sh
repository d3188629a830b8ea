#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs a test of the binding under Node, whose results come as TAP.
# Environment: NODE, srcdir (the top of the sources); MEMPOOL_JS, the folder of the built module, is set.
set -u
if [ -z "${NODE-}" ]; then
  echo '1..0 # SKIP Node is not installed'
  exit 0
fi
if ! "$NODE" -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)'; then
  echo "1..0 # SKIP Node 18 or newer is needed, this is $("$NODE" --version)"
  exit 0
fi
case $srcdir in
/*) top=$srcdir ;;
*) top=$PWD/$srcdir ;;
esac
MEMPOOL_JS=$PWD/js
export MEMPOOL_JS
exec "$NODE" --no-warnings --expose-gc --test-reporter="$top/js/test/tap.mjs" "$1"
