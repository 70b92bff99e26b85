/* number.h - numbers as text that reads back as the same number. */
#ifndef TIDEPOOL_BASE_NUMBER_H
#define TIDEPOOL_BASE_NUMBER_H

#include <stddef.h>

enum { NUMBER_TEXT_MAX = 32 };

/* The shortest such text: "3", "0.1", "1e+300", "NaN", "-Infinity", as Postgres
 * reads them too.  Gives its length; out holds NUMBER_TEXT_MAX bytes. */
size_t number_text(char *out, double number);

#endif
