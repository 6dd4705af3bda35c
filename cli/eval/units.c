/* Metrics as people read them: percent, nats, bits, and changes of each. */
#include "units.h"

#include <math.h>
#include <stdio.h>

static const struct {
    int digits;
    double scale;
    const char *name;
} UNITS[] = {[ME_UNIT_SHARE] = {1, 100, " %"}, [ME_UNIT_NATS] = {4, 1, " nats"},
             [ME_UNIT_BITS] = {3, 1, " bits"}, [ME_UNIT_PROMPTS] = {0, 1, " prompts"},
             [ME_UNIT_SECONDS] = {2, 1, " s"}, [ME_UNIT_JOULES] = {1, 1, " J"}};

const char *unit_value(me_unit unit, double value, char text[UNIT_TEXT]) {
    if (isnan(value)) return "-";
    (void)snprintf(text, UNIT_TEXT, "%.*f", UNITS[unit].digits, UNITS[unit].scale * value);
    return text;
}

const char *unit_change(me_unit unit, double value, char text[UNIT_TEXT]) {
    if (isnan(value)) return "-";
    (void)snprintf(text, UNIT_TEXT, "%+.*f", UNITS[unit].digits, UNITS[unit].scale * value);
    return text;
}

const char *unit_name(me_unit unit) {
    return UNITS[unit].name;
}
