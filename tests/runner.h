/* SPDX-License-Identifier: MIT */
/*
 * Runs a table of CUnit tests and reports each in TAP, the Test Anything
 * Protocol, so that make check counts cases and not programs.
 *
 *     int main(void)
 *     {
 *       static const test_case tests[] = { TEST(test_free_null_ok), ... };
 *       return RUN_TESTS(tests);
 *     }
 */
#ifndef TESTS_RUNNER_H
#define TESTS_RUNNER_H

#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct test_case {
  const char *name;
  void (*run)(void);
} test_case;

#define TEST(function) { #function, function }

#define RUN_TESTS(tests) run_tests(__FILE__, (tests), sizeof(tests) / sizeof((tests)[0]))

/*
 * Runs the tests in order, or those with TEST_ONLY of the environment in their
 * names.  Returns main's exit status: 0, or 1 if any failed, or 99 if CUnit
 * itself did.
 */
int run_tests(const char *suite, const test_case *tests, size_t count);

/* Marks the running test as skipped; the test then returns without an assertion. */
void skip_test(const char *reason);

/*
 * Whether the running test can't go on, and so was marked as skipped, because this platform has no fork(), or can't
 * send signals to threads.  For tests that start threads before they would find out.
 */
bool skipped_without_fork(void);
bool skipped_without_signals(void);

/*
 * The seed of a randomised test: the environment's TEST_SEED if it is set,
 * else one from the clock.  It is printed, so that a failure can be run again.
 */
uint64_t test_seed(void);

/* The next of a sequence of random numbers (splitmix64, Steele, Lea, Flood 2014). */
uint64_t test_random(uint64_t *state);

#endif /* TESTS_RUNNER_H */
