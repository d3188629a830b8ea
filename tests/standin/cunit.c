/* SPDX-License-Identifier: MIT */
#include <CUnit/CUnit.h>

#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>

static CU_Suite the_suite;
static CU_pTest last_test;
static CU_pFailureRecord first_failure;
static CU_pFailureRecord last_failure;
static unsigned failures;
static jmp_buf end_of_test;
static void (*at_start)(const CU_pTest test, const CU_pSuite suite);
static void (*at_end)(const CU_pTest test, const CU_pSuite suite, const CU_pFailureRecord failure);

static void forget_failures(void)
{
  while (first_failure != NULL) {
    CU_pFailureRecord failure = first_failure;
    first_failure = failure->pNext;
    free(failure);
  }
  last_failure = NULL;
}

CU_ErrorCode CU_initialize_registry(void)
{
  failures = 0;
  return CUE_SUCCESS;
}

void CU_cleanup_registry(void)
{
  while (the_suite.tests != NULL) {
    CU_pTest test = the_suite.tests;
    the_suite.tests = test->next;
    free(test);
  }
  last_test = NULL;
}

CU_pSuite CU_add_suite(const char *name, int (*initialize)(void), int (*clean_up)(void))
{
  (void)initialize;
  (void)clean_up;
  the_suite.pName = name;
  return &the_suite;
}

CU_pTest CU_add_test(CU_pSuite suite, const char *name, void (*run)(void))
{
  CU_pTest test = malloc(sizeof *test);
  if (test == NULL)
    return NULL;
  test->pName = name;
  test->run = run;
  test->next = NULL;
  if (last_test != NULL)
    last_test->next = test;
  else
    suite->tests = test;
  last_test = test;
  return test;
}

void CU_set_test_start_handler(void (*handler)(const CU_pTest test, const CU_pSuite suite))
{
  at_start = handler;
}

void CU_set_test_complete_handler(void (*handler)(const CU_pTest test, const CU_pSuite suite,
                                                  const CU_pFailureRecord failure))
{
  at_end = handler;
}

/* A function of its own, so that no variable of the loop's lives in the frame that longjmp() comes back to. */
static void run_test(CU_pTest test)
{
  if (setjmp(end_of_test) == 0)
    test->run();
}

CU_ErrorCode CU_run_all_tests(void)
{
  CU_pTest test;
  for (test = the_suite.tests; test != NULL; test = test->next) {
    at_start(test, &the_suite);
    run_test(test);
    at_end(test, &the_suite, first_failure);
    forget_failures();
  }
  return CUE_SUCCESS;
}

unsigned CU_get_number_of_failures(void)
{
  return failures;
}

void standin_leave_test(void)
{
  longjmp(end_of_test, 1);
}

void standin_assert(bool value, unsigned line, const char *condition, const char *file, bool fatal)
{
  CU_pFailureRecord failure;
  if (value)
    return;
  failures++;
  failure = malloc(sizeof *failure);
  if (failure == NULL)
    abort();
  failure->uiLineNumber = line;
  failure->strFileName = file;
  failure->strCondition = condition;
  failure->pNext = NULL;
  if (last_failure != NULL)
    last_failure->pNext = failure;
  else
    first_failure = failure;
  last_failure = failure;
  if (fatal)
    standin_leave_test();
}
