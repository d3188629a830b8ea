#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes or removes, in a man3 directory, a link page for every further name
# that the NAME section of a page has:
#   man-links.sh install|uninstall DIRECTORY PAGE...
set -eu
action=$1
directory=$2
shift 2
for page in "$@"; do
  file=${page##*/}
  for name in $(awk '$1 == ".Sh" { here = $2 == "NAME" } here && $1 == ".Nm" { print $2 }' "$page"); do
    if [ "$name.3" != "$file" ]; then
      case $action in
      install) echo ".so man3/$file" >"$directory/$name.3" ;;
      uninstall) rm -f "$directory/$name.3" ;;
      esac
    fi
  done
done
