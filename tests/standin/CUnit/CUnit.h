/* SPDX-License-Identifier: MIT */
/*
 * The few things of CUnit that the tests use, for where it can't be linked,
 * so that no test is left out for want of it.  cunit.c has the functions.
 */
#ifndef TESTS_STANDIN_CUNIT_H
#define TESTS_STANDIN_CUNIT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct CU_Test {
  const char *pName;
  void (*run)(void);
  struct CU_Test *next;
} CU_Test, *CU_pTest;

typedef struct CU_Suite {
  const char *pName;
  CU_pTest tests;
} CU_Suite, *CU_pSuite;

typedef struct CU_FailureRecord {
  unsigned uiLineNumber;
  const char *strFileName;
  const char *strCondition;
  struct CU_FailureRecord *pNext;
} CU_FailureRecord, *CU_pFailureRecord;

typedef enum { CUE_SUCCESS = 0, CUE_NOMEMORY = 1 } CU_ErrorCode;

CU_ErrorCode CU_initialize_registry(void);
void CU_cleanup_registry(void);
CU_pSuite CU_add_suite(const char *name, int (*initialize)(void), int (*clean_up)(void));
CU_pTest CU_add_test(CU_pSuite suite, const char *name, void (*run)(void));
void CU_set_test_start_handler(void (*handler)(const CU_pTest test, const CU_pSuite suite));
void CU_set_test_complete_handler(void (*handler)(const CU_pTest test, const CU_pSuite suite,
                                                  const CU_pFailureRecord failures));
CU_ErrorCode CU_run_all_tests(void);
unsigned CU_get_number_of_failures(void);

/* Notes a failure unless value; then, if it is fatal, leaves the test. */
void standin_assert(bool value, unsigned line, const char *condition, const char *file, bool fatal);

/* Leaves the test that runs, from within it. */
_Noreturn void standin_leave_test(void);

#define STANDIN_ASSERT(value, condition, fatal) standin_assert((value), __LINE__, condition, __FILE__, fatal)

#define CU_FAIL(message) STANDIN_ASSERT(false, "CU_FAIL(" #message ")", false)
#define CU_ASSERT(value) STANDIN_ASSERT((value) != 0, #value, false)
#define CU_ASSERT_FATAL(value) STANDIN_ASSERT((value) != 0, #value, true)
#define CU_ASSERT_FALSE(value) STANDIN_ASSERT((value) == 0, "CU_ASSERT_FALSE(" #value ")", false)
#define STANDIN_EQUAL(macro, a, b, fatal) STANDIN_ASSERT((a) == (b), macro "(" #a "," #b ")", fatal)
#define STANDIN_DIFFER(macro, a, b, fatal) STANDIN_ASSERT((a) != (b), macro "(" #a "," #b ")", fatal)
#define CU_ASSERT_EQUAL(actual, expected) STANDIN_EQUAL("CU_ASSERT_EQUAL", actual, expected, false)
#define CU_ASSERT_EQUAL_FATAL(actual, expected) STANDIN_EQUAL("CU_ASSERT_EQUAL_FATAL", actual, expected, true)
#define CU_ASSERT_NOT_EQUAL(actual, expected) STANDIN_DIFFER("CU_ASSERT_NOT_EQUAL", actual, expected, false)
#define CU_ASSERT_NOT_EQUAL_FATAL(actual, expected) STANDIN_DIFFER("CU_ASSERT_NOT_EQUAL_FATAL", actual, expected, true)
#define STANDIN_POINTER(value) ((uintptr_t)(value))
#define STANDIN_SAME(macro, a, b, fatal) \
  STANDIN_ASSERT(STANDIN_POINTER(a) == STANDIN_POINTER(b), macro "(" #a "," #b ")", fatal)
#define STANDIN_OTHER(macro, a, b, fatal) \
  STANDIN_ASSERT(STANDIN_POINTER(a) != STANDIN_POINTER(b), macro "(" #a "," #b ")", fatal)
#define CU_ASSERT_PTR_EQUAL(actual, expected) STANDIN_SAME("CU_ASSERT_PTR_EQUAL", actual, expected, false)
#define CU_ASSERT_PTR_EQUAL_FATAL(actual, expected) STANDIN_SAME("CU_ASSERT_PTR_EQUAL_FATAL", actual, expected, true)
#define CU_ASSERT_PTR_NOT_EQUAL(actual, expected) STANDIN_OTHER("CU_ASSERT_PTR_NOT_EQUAL", actual, expected, false)
#define CU_ASSERT_PTR_NOT_EQUAL_FATAL(actual, expected) \
  STANDIN_OTHER("CU_ASSERT_PTR_NOT_EQUAL_FATAL", actual, expected, true)
#define CU_ASSERT_PTR_NULL(value) STANDIN_SAME("CU_ASSERT_PTR_NULL", value, NULL, false)
#define CU_ASSERT_PTR_NOT_NULL(value) STANDIN_OTHER("CU_ASSERT_PTR_NOT_NULL", value, NULL, false)
#define CU_ASSERT_PTR_NOT_NULL_FATAL(value) STANDIN_OTHER("CU_ASSERT_PTR_NOT_NULL_FATAL", value, NULL, true)
#define CU_ASSERT_STRING_EQUAL(actual, expected) \
  STANDIN_ASSERT(strcmp((actual), (expected)) == 0, "CU_ASSERT_STRING_EQUAL(" #actual "," #expected ")", false)

#endif /* TESTS_STANDIN_CUNIT_H */
