#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes configure, after a checkout.  Needs autoconf, automake, libtool and pkg-config.
set -eu
cd "$(dirname "$0")"
exec autoreconf --install --force --warnings=all
