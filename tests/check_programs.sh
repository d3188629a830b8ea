#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs the programs that PROGRAMS names, under WRAPPER if that is set.  Each is
# a case, and passes if it exits with 0 and, if it is a misuse, says nothing;
# one that exits with 77 is a skip, for the reason that it says.
set -u
LC_ALL=C
export LC_ALL
: "${PROGRAMS?names the programs to run}"

set -- $PROGRAMS
echo "1..$#"
number=0
failed=0
for program in "$@"; do
  number=$((number + 1))
  name=${program##*/}
  # shellcheck disable=SC2086 # WRAPPER is a command with arguments
  output=$(timeout 300 ${WRAPPER-} "./$program" 2>&1)
  status=$?
  case $name in
  misuse_*) silent=yes ;;
  *) silent=no ;;
  esac
  if [ $status -eq 0 ] && { [ $silent = no ] || [ -z "$output" ]; }; then
    echo "ok $number - $name"
  elif [ $status -eq 77 ]; then
    echo "ok $number - $name # SKIP $output"
  else
    echo "not ok $number - $name"
    echo "# exit status $status"
    echo "$output" | sed 's/^/# /'
    failed=1
  fi
done
exit $failed
