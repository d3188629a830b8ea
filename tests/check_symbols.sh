#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Checks that what belongs together names the same things:
#
#   - the functions that include/mempool.h declares;
#   - those that lib/libmempool.map exports;
#   - the symbols that the shared library defines;
#   - those in the NAME sections of man/*.3, their prototypes in the SYNOPSIS
#     sections, and their names in man/libmempool.7;
#   - the status codes, with their numbers, and the flags of the header and
#     those in man/libmempool.7.
#
# Environment: srcdir (the top of the sources), top_builddir (the top of the
# build), MEMPOOL_SO (the shared library, if it isn't where libtool puts it),
# NM.

LC_ALL=C
export LC_ALL

: "${srcdir:=.}"
: "${top_builddir:=.}"
: "${NM:=nm}"

header=$srcdir/include/mempool.h
map=$srcdir/lib/libmempool.map
overview=$srcdir/man/libmempool.7

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

# Reports the case $1: the lists $2 and $4, which are called $3 and $5, name the same, each once.
compare()
{
  awk -v left="$3" -v right="$5" '
    FILENAME == ARGV[1] { in_left[$0]++; next }
    { in_right[$0]++ }
    END {
      for (name in in_left) {
        some = 1
        if (in_left[name] > 1)
          print name ": twice in " left
        if (!(name in in_right))
          print name ": in " left ", missing in " right
      }
      for (name in in_right) {
        if (in_right[name] > 1)
          print name ": twice in " right
        if (!(name in in_left))
          print name ": in " right ", missing in " left
      }
      if (!some)
        print "nothing found in " left
    }
  ' "$2" "$4" >"$temporary/unsorted" || echo "awk failed" >>"$temporary/unsorted"
  sort "$temporary/unsorted" >"$temporary/wrong"
  report "$1" "$temporary/wrong"
}

# Prints each declaration of the header on a line of its own, as "type name(parameters)", one blank between words.
header_prototypes()
{
  awk '
    /^MEMPOOL_API / { declaring = 1; text = ""; sub(/^MEMPOOL_API /, "") }
    declaring { text = text " " $0 }
    declaring && /;/ { print text; declaring = 0 }
  ' "$header"
}

# Prints the prototypes in the SYNOPSIS sections of man/*.3, in that form.
manual_prototypes()
{
  awk '
    function words(line,    quoted, i, item) {
      count = 0
      while (line != "") {
        sub(/^ +/, "", line)
        quoted = line ~ /^"/
        if (quoted)
          line = substr(line, 2)
        i = index(line, quoted ? "\"" : " ")
        item = i ? substr(line, 1, i - 1) : line
        line = i ? substr(line, i + 1) : ""
        if (item != "")
          word[++count] = item
      }
    }
    function join(first,    text, i) {
      for (i = first; i <= count; i++)
        text = text (i > first ? ", " : "") word[i]
      return text
    }
    $1 == ".Sh" { inside = $2 == "SYNOPSIS" }
    !inside { next }
    $1 == ".Ft" { type = substr($0, 5); gsub(/"/, "", type) }
    $1 == ".Fn" { words(substr($0, 5)); print type " " word[1] "(" join(2) ");" }
    $1 == ".Fo" { name = $2; arguments = "" }
    $1 == ".Fa" {
      words(substr($0, 5))
      arguments = arguments (arguments == "" ? "" : ", ") join(1)
    }
    $1 == ".Fc" { print type " " name "(" arguments ");" }
  ' "$srcdir"/man/*.3 | sed '/^typedef /d'
}

# Gives each star, comma and parenthesis the same blanks around it, so that only what the compiler reads is compared.
normalise()
{
  sed -e 's/[[:blank:]][[:blank:]]*/ /g' -e 's/ *\([*(),;]\) */\1/g' -e 's/^ //'
}

# The function's name in each of the prototypes read.
function_names()
{
  sed 's/(.*//; s/.*[ *]//'
}

# Prints the names in the global parts of the version script.
exported_names()
{
  awk '
    { gsub(/\/\*([^*]|\*[^\/])*\*\//, ""); sub(/#.*/, "") }
    {
      text = $0
      gsub(/[;{}]/, " ", text)
      n = split(text, word, /[ \t]+/)
      for (i = 1; i <= n; i++) {
        if (word[i] == "global:")
          global = 1
        else if (word[i] == "local:")
          global = 0
        else if (global && word[i] != "")
          print word[i]
      }
    }
  ' "$map"
}

# The names that the shared library $1 defines, without those of the versions themselves.
defined_names()
{
  "$NM" -D --defined-only "$1" | awk '$(NF - 1) != "A" { sub(/@.*/, "", $NF); print $NF }'
}

# Prints the names in the NAME sections of man/*.3.
manual_names()
{
  awk '
    $1 == ".Sh" { inside = $2 == "NAME" }
    inside && $1 == ".Nm" { print $2 }
  ' "$srcdir"/man/*.3
}

for file in "$header" "$map" "$overview"; do
  if [ ! -r "$file" ]; then
    echo "Bail out! $file can't be read"
    exit 99
  fi
done

echo 1..8

header_prototypes | normalise >"$temporary/prototypes"
function_names <"$temporary/prototypes" >"$temporary/declared"

exported_names >"$temporary/exported"
compare "the version script exports what the header declares" \
  "$temporary/declared" "the header" "$temporary/exported" "the version script"

# Without --enable-shared there is nothing to look at.
if [ -z "${MEMPOOL_SO-}" ]; then
  for MEMPOOL_SO in "$top_builddir/.libs/libmempool.so" "$top_builddir/lib/.libs/libmempool.so"; do
    [ ! -r "$MEMPOOL_SO" ] || break
  done
fi
if [ ! -r "$MEMPOOL_SO" ]; then
  skip "the shared library defines what the header declares" "there is no shared library"
elif ! command -v "$NM" >/dev/null 2>&1; then
  skip "the shared library defines what the header declares" "$NM is not installed"
else
  defined_names "$MEMPOOL_SO" >"$temporary/defined"
  compare "the shared library defines what the header declares" \
    "$temporary/declared" "the header" "$temporary/defined" "the shared library"
fi

manual_names >"$temporary/documented"
compare "the manual names what the header declares" \
  "$temporary/declared" "the header" "$temporary/documented" "the NAME sections of the manual"

manual_prototypes | normalise >"$temporary/synopses"
compare "the manual shows the prototypes of the header" \
  "$temporary/prototypes" "the header" "$temporary/synopses" "the SYNOPSIS sections of the manual"

sed -n 's/^\.It Xr \(mempool_[a-z_]*\) 3.*/\1/p' "$overview" >"$temporary/listed"
compare "the overview lists what the header declares" \
  "$temporary/declared" "the header" "$temporary/listed" "libmempool.7"

sed -n 's/^  \(MEMPOOL_[A-Z_]*\) = \(-*[0-9]*\).*/\1 \2/p' "$header" >"$temporary/codes"
sed -n 's/^\.It Dv \(MEMPOOL_[A-Z_]*\) Ta \\*\(-*[0-9]*\) Ta .*/\1 \2/p' "$overview" >"$temporary/listed"
compare "the overview lists the status codes of the header and their numbers" \
  "$temporary/codes" "the header" "$temporary/listed" "libmempool.7"

sed -n 's/^#define \(MEMPOOL_[A-Z_]*\) 0x[0-9a-f]*u.*/\1/p' "$header" >"$temporary/flags"
sed -n 's/^\.It Dv \(MEMPOOL_[A-Z_]*\)$/\1/p' "$overview" >"$temporary/listed"
compare "the overview lists the flags of the header" \
  "$temporary/flags" "the header" "$temporary/listed" "libmempool.7"

# Whatever the header defines, however it is written, except what is there for the preprocessor alone.
sed -e 's|/\*.*\*/||' -e '/^ \*/d' -e '/^\/\*/d' "$header" | tr -c 'A-Z_a-z0-9' '\n' |
  sed -n '/^MEMPOOL_[A-Z_]*$/p' | sed -e '/^MEMPOOL_API$/d' -e '/^MEMPOOL_H$/d' | sort -u >"$temporary/constants"
cat "$srcdir"/man/*.3 "$overview" | tr -c 'A-Z_a-z0-9' '\n' |
  sed -n '/^MEMPOOL_[A-Z_]*$/p' | sort -u >"$temporary/mentioned"
# A page's title is its name in capitals; and there are variables of the environment.
sed -n -e 's/^\.Dt \([A-Z_]*\) 3$/\1/p' -e 's/^\.Ev \(MEMPOOL_[A-Z]*\)$/\1/p' "$srcdir"/man/*.3 "$overview" |
  grep -v -x -F -f "$temporary/constants" >"$temporary/titles"
grep -v -x -F -f "$temporary/titles" "$temporary/mentioned" >"$temporary/named"
compare "the manual knows the constants of the header and no others" \
  "$temporary/constants" "the header" "$temporary/named" "the manual"

exit "$failed"
