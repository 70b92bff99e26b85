/* number.c - see number.h. */
#include "base/number.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Most numbers are small and whole: no printf for them. */
static size_t whole_text(char *out, int64_t number)
{
    char digits[NUMBER_TEXT_MAX];
    uint64_t rest = (uint64_t)(number < 0 ? -number : number);
    size_t at = sizeof(digits);
    size_t len;

    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (number < 0)
        digits[--at] = '-';
    len = sizeof(digits) - at;
    memcpy(out, digits + at, len);
    out[len] = '\0';
    return len;
}

size_t number_text(char *out, double number)
{
    if (isnan(number))
        return (size_t)snprintf(out, NUMBER_TEXT_MAX, "NaN");
    if (isinf(number))
        return (size_t)snprintf(out, NUMBER_TEXT_MAX, "%sInfinity",
                                number < 0 ? "-" : "");
    if (fabs(number) < 1e15 && number == floor(number))
        return whole_text(out, (int64_t)number);
    for (int digits = 15; digits < 17; digits++) {
        int len = snprintf(out, NUMBER_TEXT_MAX, "%.*g", digits, number);
        if (strtod(out, NULL) == number)
            return (size_t)len;
    }
    return (size_t)snprintf(out, NUMBER_TEXT_MAX, "%.17g", number);
}
