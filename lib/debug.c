/* SPDX-License-Identifier: MIT */
#include "debug.h"

#include "annotate.h"
#include "os.h"
#include "shared.h"

#include <string.h>

/* ---- Lines ---- */

/* Made without the C library's formatting: it may be in a signal handler, and with a lock held. */
struct line {
  char text[256];
  size_t length;
};

static void append_bytes(struct line *line, const char *bytes, size_t count)
{
  size_t room = sizeof line->text - 1 - line->length; /* the last is for the end of the line */
  count = count < room ? count : room;
  memcpy(line->text + line->length, bytes, count);
  line->length += count;
}

static void append(struct line *line, const char *text)
{
  append_bytes(line, text, strlen(text));
}

static void append_number(struct line *line, uintptr_t number, unsigned base)
{
  char digits[sizeof number * 3];
  size_t at = sizeof digits;
  do
    digits[--at] = "0123456789abcdef"[number % base];
  while ((number /= base) != 0);
  append_bytes(line, digits + at, sizeof digits - at);
}

static void begin(struct line *line, const mempool *pool)
{
  line->length = 0;
  append(line, "libmempool: pool \"");
  append(line, pool->name);
  append(line, "\": ");
}

static void end(struct line *line)
{
  line->text[line->length++] = '\n';
  mempool__os_say(line->text, line->length);
}

static void begin_with_block(struct line *line, const mempool *pool, uintptr_t index, const char *what)
{
  begin(line, pool);
  append(line, "block ");
  append_number(line, index, 10);
  append(line, " at 0x");
  append_number(line, (uintptr_t)geometry_address(&pool->geometry, (uint32_t)index), 16);
  append(line, " ");
  append(line, what);
}

static bool reports(const mempool *pool)
{
  return (pool_mode(pool) & MODE_REPORT) != 0;
}

void mempool__debug_say(const mempool *pool, uintptr_t index, const char *what)
{
  struct line line;
  if (!reports(pool))
    return;
  begin_with_block(&line, pool, index, what);
  end(&line);
}

void mempool__debug_say_at(const mempool *pool, uintptr_t index, const char *what, size_t at)
{
  struct line line;
  if (!reports(pool))
    return;
  begin_with_block(&line, pool, index, what);
  append_number(&line, at, 10);
  end(&line);
}

void mempool__debug_say_refused(const mempool *pool, const void *block, mempool_status status)
{
  struct line line;
  if (!reports(pool))
    return;
  begin(&line, pool);
  append(&line, "free of 0x");
  append_number(&line, (uintptr_t)block, 16);
  append(&line, " refused: ");
  append(&line, mempool_strerror(status));
  end(&line);
}

/* Blocks that are out; of a pool that processes share, in this one's name. */
static size_t count_out(const mempool *pool)
{
  mempool_stats stats = MEMPOOL_STATS_INIT;
  if (pool_is_shared(pool))
    return mempool__shared_held(pool);
  (void)mempool_get_stats(pool, &stats);
  return stats.used;
}

void mempool__debug_last_look(const mempool *pool)
{
  struct line line;
  size_t out;
  if ((pool_mode(pool) & MODE_CHECK) == 0)
    return;
  if (mempool_check(pool) != MEMPOOL_OK) {
    begin(&line, pool);
    append(&line, "destroyed, and found damaged");
    end(&line);
  }
  out = count_out(pool);
  if (out > 0) {
    begin(&line, pool);
    append(&line, "destroyed while blocks were out: ");
    append_number(&line, out, 10);
    end(&line);
  }
}

/* ---- MEMPOOL_DEBUG ---- */

static bool is_word(const char *text, size_t length, const char *word)
{
  return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* One word.  False if it isn't known. */
static bool read_word(struct debug *debug, bool *hides, const char *text, size_t length)
{
  static const struct {
    char word[8];
    uint32_t flags;
    uint32_t mode;
  } words[] = {
    { "guard", MEMPOOL_GUARD, MODE_REPORT },   { "zero", MEMPOOL_ZERO, MODE_REPORT },
    { "poison", MEMPOOL_POISON, MODE_REPORT }, { "strict", MEMPOOL_STRICT, MODE_REPORT },
    { "check", 0, MODE_REPORT | MODE_CHECK },
  };
  size_t i;
  for (i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (is_word(text, length, words[i].word)) {
      debug->flags |= words[i].flags;
      debug->mode |= words[i].mode;
      return true;
    }
  }
  if (!is_word(text, length, "hide"))
    return false;
  *hides = true;
  return true;
}

static void say_unknown(const char *text, size_t length)
{
  struct line line;
  line.length = 0;
  append(&line, "libmempool: MEMPOOL_DEBUG: \"");
  append_bytes(&line, text, length < 64 ? length : 64);
  append(&line, "\" is none of guard, zero, poison, strict, check, hide, and is ignored");
  end(&line);
}

struct debug mempool__debug_asked(void)
{
  static atomic_u32 told; /* what isn't known: by whoever comes first */
  struct debug debug;
  const char *text = mempool__os_debug_words();
  bool unknown = false;
  bool tells = false;
  bool hides = false;
  memset(&debug, 0, sizeof debug);
  while (text != NULL && *text != '\0') {
    size_t length = strcspn(text, ",");
    if (length > 0 && !read_word(&debug, &hides, text, length)) {
      if (!unknown && load_relaxed_u32(&told) == 0)
        tells = exchange_acquire_u32(&told, 1) == 0;
      unknown = true;
      if (tells)
        say_unknown(text, length);
    }
    text += length + (text[length] == ',');
  }
  if (!hides && mempool__annotate_sees_memory())
    debug.mode |= MODE_MEMORY;
  if (!hides && mempool__annotate_sees_threads())
    debug.mode |= MODE_THREADS;
  return debug;
}
