/* SPDX-License-Identifier: MIT */
#include "runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *skip_reason;
static unsigned number;

void skip_test(const char *reason)
{
  skip_reason = reason;
}

static bool skipped_in_wasm(const char *reason)
{
#ifdef __EMSCRIPTEN__
  skip_test(reason);
  return true;
#else
  (void)reason;
  return false;
#endif
}

bool skipped_without_fork(void)
{
  return skipped_in_wasm("there is no fork() in WebAssembly");
}

bool skipped_without_signals(void)
{
  return skipped_in_wasm("there are no signals to threads in WebAssembly");
}

uint64_t test_seed(void)
{
  const char *given = getenv("TEST_SEED");
  struct timespec now;
  uint64_t seed;
  if (given != NULL) {
    seed = strtoull(given, NULL, 0);
  } else {
    (void)clock_gettime(CLOCK_REALTIME, &now);
    seed = (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
  }
  printf("# TEST_SEED=%" PRIu64 "\n", seed);
  return seed;
}

uint64_t test_random(uint64_t *state)
{
  uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static void start(const CU_pTest test, const CU_pSuite suite)
{
  (void)test;
  (void)suite;
  skip_reason = NULL;
}

static void complete(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failures)
{
  CU_pFailureRecord failure;
  (void)suite;
  number++;
  for (failure = failures; failure != NULL; failure = failure->pNext)
    printf("# %s:%u: %s\n", failure->strFileName, failure->uiLineNumber, failure->strCondition);
  if (failures != NULL)
    printf("not ok %u - %s\n", number, test->pName);
  else if (skip_reason != NULL)
    printf("ok %u - %s # SKIP %s\n", number, test->pName, skip_reason);
  else
    printf("ok %u - %s\n", number, test->pName);
}

int run_tests(const char *suite_name, const test_case *tests, size_t count)
{
  const char *base = strrchr(suite_name, '/');
  const char *only = getenv("TEST_ONLY");
  CU_pSuite suite;
  unsigned failed, chosen = 0;
  size_t i;
  if (CU_initialize_registry() != CUE_SUCCESS)
    return 99;
  suite = CU_add_suite(base != NULL ? base + 1 : suite_name, NULL, NULL);
  for (i = 0; i < count; i++) {
    if (only != NULL && strstr(tests[i].name, only) == NULL)
      continue;
    chosen++;
    if (CU_add_test(suite, tests[i].name, tests[i].run) == NULL)
      return 99;
  }
  /* A line that lies in the buffer when a test forks would be printed twice. */
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  printf("1..%u\n", chosen);
  CU_set_test_start_handler(start);
  CU_set_test_complete_handler(complete);
  if (CU_run_all_tests() != CUE_SUCCESS)
    return 99;
  failed = CU_get_number_of_failures();
  CU_cleanup_registry();
  return failed == 0 && number == chosen ? 0 : 1;
}
