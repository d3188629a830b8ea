#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Compiles and runs the programs in the manual and in README.md: each literal
# display with a main() in the EXAMPLES sections of man/*.3 and man/*.7, and
# each block of C with a main() in README.md.  A program is right if the
# compiler has nothing to say about it and it exits with 0; one that exits with
# 77 is a skip, for the reason that it says.
#
# Environment: srcdir (the top of the sources), top_builddir (the top of the
# build), CC, CPPFLAGS, CFLAGS, LDFLAGS, LIBS;
# LIBTOOL (the build's libtool: the programs are linked with
# libmempool.la), or else MEMPOOL_LIBS (what to link with: objects, an archive,
# or flags); LIBS (what goes before it); PTHREAD_FLAG; WRAPPER (a command that runs the programs, such as valgrind).

LC_ALL=C
export LC_ALL

: "${srcdir:=.}"
: "${top_builddir:=.}"
: "${CC:=cc}"

temporary=$(mktemp -d) || exit 99
trap 'rm -rf "$temporary"' EXIT
trap 'exit 99' HUP INT TERM

execute=
if timeout 10 true >/dev/null 2>&1; then
  execute='timeout 120'
fi
if [ -n "${LIBTOOL-}" ]; then
  link="$LIBTOOL --silent --tag=CC --mode=link $CC"
  execute="$execute $LIBTOOL --silent --mode=execute"
  libraries=$top_builddir/libmempool.la
  [ -f "$libraries" ] || libraries=$top_builddir/lib/libmempool.la
else
  link=$CC
  libraries=${MEMPOOL_LIBS-}
fi

number=0
failed=0

# Reports the case $1: it failed if $2 is not 0.  The file $3 tells more.
report()
{
  number=$((number + 1))
  if [ "$2" -eq 0 ]; then
    echo "ok $number - $1"
  else
    failed=1
    echo "not ok $number - $1"
    sed 's/^/# /' "$3"
  fi
}

# Writes the programs in the page $1 to $2.1.c, $2.2.c and so on.
extract_from_page()
{
  awk -v base="$2" '
    $1 == ".Sh" { examples = $2 == "EXAMPLES" }
    examples && $1 == ".Bd" { display = 1; text = ""; next }
    display && $1 == ".Ed" {
      display = 0
      if (text ~ /(^|\n)int main\(/)
        printf "%s", text > (base "." ++count ".c")
      next
    }
    display {
      gsub(/\\&/, "")
      gsub(/\\\(dq/, "\"")
      gsub(/\\\(aq/, "\047")
      gsub(/\\-/, "-")
      gsub(/\\e/, "\\")
      text = text $0 "\n"
    }
  ' "$1"
}

# Writes the programs in the Markdown file $1 to $2.1.c, $2.2.c and so on.
extract_from_markdown()
{
  awk -v base="$2" '
    !code && /^```c *$/ { code = 1; text = ""; next }
    code && /^``` *$/ {
      code = 0
      if (text ~ /(^|\n)int main\(/)
        printf "%s", text > (base "." ++count ".c")
      next
    }
    code { text = text $0 "\n" }
  ' "$1"
}

# Builds $1 from $1.c.  What stands in the variables is meant to be split into words.
# shellcheck disable=SC2086
build()
{
  program=$1
  set -- $CC ${CPPFLAGS-} ${CFLAGS-} -std=c11 -Wall -Wextra -Wpedantic -Werror ${PTHREAD_FLAG--pthread} \
    "-I$srcdir/include" -c "$program.c" -o "$program.o"
  echo "$@"
  "$@" || return
  set -- $link ${CFLAGS-} ${LDFLAGS-} ${PTHREAD_FLAG--pthread} -o "$program" "$program.o" ${LIBS-} $libraries
  echo "$@"
  "$@"
}

# Builds and runs the program $1.c, which is called $2.
try()
{
  if ! build "$1" >"$1.log" 2>&1; then
    report "$2" 1 "$1.log"
    return
  fi
  # shellcheck disable=SC2086
  $execute ${WRAPPER-} "$1" >"$1.log" 2>&1
  status=$?
  if [ "$status" -eq 77 ]; then
    number=$((number + 1))
    echo "ok $number - $2 # SKIP $(cat "$1.log")"
    return
  fi
  [ "$status" -eq 0 ] || echo "exit status $status" >>"$1.log"
  report "$2" "$status" "$1.log"
}

cases=0
for file in "$srcdir"/man/*.3 "$srcdir"/man/*.7 "$srcdir/README.md"; do
  [ -f "$file" ] || continue
  base=$temporary/${file##*/}
  case $file in
    *.md) extract_from_markdown "$file" "$base" ;;
    *) extract_from_page "$file" "$base" ;;
  esac
  found=0
  while [ -f "$base.$((found + 1)).c" ]; do
    found=$((found + 1))
    echo "$base.$found ${file##*/}, program $found" >>"$temporary/cases"
  done
  case $file,$found in
    *.3,0)
      found=1
      echo "- ${file##*/} has a program" >>"$temporary/cases"
      ;;
  esac
  cases=$((cases + found))
done

if [ "$cases" -eq 0 ]; then
  echo "Bail out! no manual in $srcdir/man"
  exit 99
fi
echo "1..$cases"

while read -r program name; do
  if [ "$program" = - ]; then
    echo "EXAMPLES has no display with a main()" >"$temporary/none"
    report "$name" 1 "$temporary/none"
  else
    try "$program" "$name" </dev/null
  fi
done <"$temporary/cases"

exit "$failed"
