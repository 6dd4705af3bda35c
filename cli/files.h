/* No output of a command may be another of its files: one check for all outputs of all commands. */
#ifndef CLI_FILES_H
#define CLI_FILES_H

#include "options.h"

/* Compares what the command would write with the model, its ledger, its calibration, what is read, the other
 * outputs, and stdout and stderr if these are files; through links, and also before they are made. If two are
 * one file, returns STATUS_USAGE after a one-line error that names both; else STATUS_DONE. Nothing is opened.
 */
int files_check(const command *which, const options *o);

#endif
