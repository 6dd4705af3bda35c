/* A small plot of an edit's loss against its prompt evaluations. */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include "mobiedit.h"

/* Writes the SVG file whole or not at all. */
mobiedit_status trace_write(const char *path, const char *title, const mobiedit_edit_result *result,
                            mobiedit_error *err);

#endif
