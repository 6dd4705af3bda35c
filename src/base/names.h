/* Names of public enums' values that mobiedit.h does not export. */
#ifndef ME_BASE_NAMES_H
#define ME_BASE_NAMES_H

#include "mobiedit.h"

enum { ME_SAID_KINDS = MOBIEDIT_SAID_TRUE_OLD + 1 };

/* "prompt", "paraphrase", "neighbour" ... */
const char *me_said_kind_name(mobiedit_said_kind kind);

#endif
