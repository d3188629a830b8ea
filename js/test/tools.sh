#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what the binding's tests use, by the lock file, into js/tools of the build: bundlers, other JavaScript
# engines, TypeScript.  None of it is shipped.  Where it can't be had the tests that want it say so.
set -u
LC_ALL=C
export LC_ALL
name="the tests' tools are installed by the lock file"
echo 1..1
if ! command -v npm >/dev/null; then
  echo "ok 1 - $name # SKIP npm is not installed"
  exit 0
fi
mkdir -p js/tools || exit 99
if cmp -s "$srcdir/js/test/package-lock.json" js/tools/package-lock.json && [ -e js/tools/node_modules/.complete ]; then
  echo "ok 1 - $name"
  exit 0
fi
cp "$srcdir/js/test/package.json" "$srcdir/js/test/package-lock.json" js/tools/ || exit 99
chmod u+w js/tools/package.json js/tools/package-lock.json
# No package's own scripts run.
if (cd js/tools && npm ci --ignore-scripts --no-audit --no-fund) >js/tools/npm.log 2>&1; then
  touch js/tools/node_modules/.complete
  echo "ok 1 - $name"
else
  sed 's/^/# /' js/tools/npm.log | tail -n 5
  echo "ok 1 - $name # SKIP npm could not get them"
fi
