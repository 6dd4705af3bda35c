/* The unrelated texts that drift is measured on. */
#include "eval/drift.h"

#include <stddef.h>

/* Written for this purpose, of several kinds. Nothing else in the library may use them. */
const char *const me_drift_texts[] = {
    "Peel four large onions and slice them thinly. Melt the butter in a heavy pan, add the onions with a "
    "pinch of salt, and let them cook slowly.",
    "\"You never told me the train was late,\" she said, shaking the rain from her umbrella. \"You never "
    "asked,\" he answered.",
    "When a gas is compressed, its molecules strike the walls more often, and the pressure rises. If the "
    "walls let heat through, it soon falls again.",
    "Members may cancel in writing up to fourteen days after joining. Fees that have been paid will be "
    "returned within a month.",
    "For each line in the file, split it at the commas, and add the third column to the total. If a line is "
    "shorter, skip it and print a warning.",
    "Shares fell on Tuesday after the company said that profits this year would be lower than it had hoped, "
    "and blamed the weather.",
    "Dear Martha, thank you for the parcel, which came just before the snow. The children wear the mittens "
    "even at breakfast.",
    "An owl's feathers have soft edges that break up the sound of the air, so that a mouse in the grass "
    "hears nothing until it is too late.",
    NULL,
};
