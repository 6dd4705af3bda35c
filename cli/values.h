/* The texts behind options, read into the members of struct options. */
#ifndef CLI_VALUES_H
#define CLI_VALUES_H

#include "options.h"

/* Decimal digits only, at most `most`. */
bool value_number(const char *text, uint64_t most, uint64_t *out);

/* Reads `text` as the row says, into the row's member of *o; false after a one-line error. Lists have room.
 * The text must live as long as *o. */
bool value_read(const option_row *row, const char *text, options *o);

#endif
