# SPDX-License-Identifier: MIT
# Makes of memory_pool_allocator.in.js the module that is shipped, with the WebAssembly in it.  Comments and needless
# blanks go; private names (#name) and constants (const NAME), of which nothing outside can know, become short ones.
# Strings and the lines stay as they are.  The source has no regular expressions, and no comments but // ones.
#
#   awk -v plain=HEX -v shared=HEX -f shorten.awk memory_pool_allocator.in.js

# The short name of a name: a letter, or two.
function short(name) {
  if (!(name in short_names)) {
    short_names[name] = letter(int(shortened / 26)) letter(shortened % 26 + 1)
    shortened++
  }
  return short_names[name]
}

function letter(number) {
  return substr("abcdefghijklmnopqrstuvwxyz", number, number > 0)
}

function last(text) {
  return substr(text, length(text))
}

function is_word(text) {
  return substr(text, 1, 1) ~ /[A-Za-z0-9_$#]/
}

# A template: what is in ${} is code.
function template(text,    done, inside) {
  done = ""
  while (match(text, /\$\{[^}]*\}/)) {
    inside = substr(text, RSTART + 2, RLENGTH - 3)
    done = done substr(text, 1, RSTART + 1)
    text = substr(text, RSTART + RLENGTH)
    done = done code(inside) "}"
  }
  return done text
}

function rename(token, before) {
  if (token ~ /^`/)
    return template(token)
  if (token ~ /^#/)
    return "#" short(token)
  if (token in constants && before != ".")
    return "$" short(token)
  return token
}

# A blank is needed between two words, and between two signs that would become one.
function code(text,    done, token, blank) {
  done = ""
  while (text != "") {
    blank = match(text, /^ +/)
    if (blank)
      text = substr(text, RLENGTH + 1)
    if (text ~ /^\/\//)
      break
    if (!match(text, /^('([^'\\]|\\.)*'|"([^"\\]|\\.)*"|`[^`]*`|[A-Za-z0-9_$#]+)/))
      RLENGTH = 1
    token = substr(text, 1, RLENGTH)
    text = substr(text, RLENGTH + 1)
    token = rename(token, last(done))
    if (blank && (is_word(last(done)) && is_word(token) || last(done) == token && token ~ /^[-+]$/))
      done = done " "
    done = done token
  }
  return done
}

{
  lines[NR] = $0
}

/^const [A-Z][A-Z0-9_]* = / {
  constants[$2] = 1
}

# Both begin as WebAssembly does, or reading them has failed.
function is_module(hex) {
  return substr(hex, 1, 8) == "0061736d"
}

END {
  if (!is_module(plain) || !is_module(shared)) {
    print "shorten.awk: plain and shared must be modules of WebAssembly, in hexadecimal" >"/dev/stderr"
    exit 1
  }
  print lines[1]
  for (number = 2; number <= NR; number++) {
    sub(/@PLAIN_WASM@/, plain, lines[number])
    sub(/@SHARED_WASM@/, shared, lines[number])
    line = code(lines[number])
    if (line != "")
      print line
  }
}
