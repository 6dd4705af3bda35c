/* Metrics as people read them. */
#ifndef CLI_EVAL_UNITS_H
#define CLI_EVAL_UNITS_H

#include "eval/figures.h"

enum { UNIT_TEXT = 32 };

/* The value in the metric's unit, without its name: 0.5 of a share is "50.0". A dash where it is NaN. */
const char *unit_value(me_unit unit, double value, char text[UNIT_TEXT]);

/* The same with a sign. */
const char *unit_change(me_unit unit, double value, char text[UNIT_TEXT]);

/* " %", " nats" ... */
const char *unit_name(me_unit unit);

#endif
