/* mobiedit push --preset */
#ifndef CLI_PUSH_PRESET_H
#define CLI_PUSH_PRESET_H

#include "options.h"

/* Gives an adapter a model of its own in a router's preset, and, where a server is named, has it serve that. The exit
 * status; what was done, or a one-line error, is printed. */
int push_preset(const options *o);

#endif
