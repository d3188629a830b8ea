#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Checks the manual pages, man/*.3 and man/*.7:
#
#   - mandoc's lint finds nothing at the level of warnings;
#   - each page bears the name of the first function in its NAME section;
#   - each reference (.Xr) to one of our pages finds a name in the NAME section
#     of a page of that section.
#
# Environment: srcdir (the top of the sources), MANDOC.

LC_ALL=C
export LC_ALL

: "${srcdir:=.}"
: "${MANDOC:=mandoc}"

temporary=$(mktemp -d) || exit 99
trap 'rm -rf "$temporary"' EXIT
trap 'exit 99' HUP INT TERM

number=0
failed=0

# Reports the case $1: it failed if the file of diagnostics $2 is not empty.
report()
{
  number=$((number + 1))
  if [ -s "$2" ]; then
    failed=1
    echo "not ok $number - $1"
    sed 's/^/# /' "$2"
  else
    echo "ok $number - $1"
  fi
}

# Reports the case $1 as skipped for the reason $2.
skip()
{
  number=$((number + 1))
  echo "ok $number - $1 # SKIP $2"
}

# Prints "name section" for each name in the NAME section of the page $1.
names()
{
  awk '
    $1 == ".Dt" { section = $3 }
    $1 == ".Sh" { inside = $2 == "NAME" }
    inside && $1 == ".Nm" { print $2, section }
  ' "$1"
}

pages=
count=0
for file in "$srcdir"/man/*.3 "$srcdir"/man/*.7; do
  [ -f "$file" ] || continue
  pages="$pages ${file##*/}"
  count=$((count + 1))
  names "$file" >>"$temporary/names"
done
echo "1..$((count * 3 + 1))"

: >"$temporary/none"
[ "$count" -ne 0 ] || echo "no page in $srcdir/man" >"$temporary/none"
report "there are manual pages" "$temporary/none"

for page in $pages; do
  file=$srcdir/man/$page

  if command -v "$MANDOC" >/dev/null 2>&1; then
    "$MANDOC" -T lint -W warning "$file" >"$temporary/lint" 2>&1
    status=$?
    if [ "$status" -ne 0 ]; then
      echo "$MANDOC: exit status $status" >>"$temporary/lint"
    fi
    report "$page: no warning from lint" "$temporary/lint"
  else
    skip "$page: no warning from lint" "$MANDOC is not installed"
  fi

  names "$file" | sed -n '1s/ /./p' >"$temporary/first"
  if [ "$(cat "$temporary/first")" = "$page" ]; then
    : >"$temporary/wrong"
  else
    echo "the first name is that of $(cat "$temporary/first")" >"$temporary/wrong"
  fi
  report "$page: is named after its first function" "$temporary/wrong"

  awk '
    FILENAME == ARGV[1] { known[$0] = 1; next }
    /Xr / {
      for (i = 1; i < NF; i++)
        if ($i ~ /^\.?Xr$/ && $(i + 1) ~ /^(lib)?mempool/ && !(($(i + 1) " " $(i + 2)) in known))
          print FNR ": there is no " $(i + 1) "(" $(i + 2) ")"
    }
  ' "$temporary/names" "$file" >"$temporary/wrong"
  report "$page: its references are found" "$temporary/wrong"
done

exit "$failed"
