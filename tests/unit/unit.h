/* unit.h - what every unit test includes: cmocka and a few checks. */
#ifndef TIDEPOOL_UNIT_H
#define TIDEPOOL_UNIT_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h> /* needs the four above it */
/* clang-format on */

#include "base/err.h"

#include <stdbool.h>
#include <string.h>

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* Compare codes, so that a failure prints "timeout" != "ok". */
#define assert_ok(expression) assert_err(expression, ERR_OK)
#define assert_err(expression, expected) \
    assert_string_equal(err_code(expression), err_code(expected))

/* Checks that buf, a struct buf *, holds these bytes of a literal. */
#define assert_buf(buf, literal)                                  \
    do {                                                          \
        assert_int_equal((buf)->len, sizeof(literal) - 1);        \
        assert_memory_equal((buf)->data, literal "", (buf)->len); \
    } while (0)

#endif
