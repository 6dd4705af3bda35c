/* What the commands share: exit statuses, one-line errors, interruption, output. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "status.h"

#include "mobiedit.h"

typedef struct options options;       /* options.h */
typedef struct option_row option_row; /* options.h */

enum { MAX_ARGUMENTS = 3, MAX_TABLES = 5 };

typedef struct {
    const char *name;
    const char *usage;                     /* after the name */
    const char *summary;                   /* one line */
    const char *arguments[MAX_ARGUMENTS];  /* beside the options; all are required */
    const option_row *options[MAX_TABLES]; /* tables of rows, in the order of the help */
    int (*run)(const options *o);          /* its exit status */
} command;

extern const command command_edit, command_ask, command_calibrate, command_completion, command_devices,
    command_eval, command_import, command_list, command_merge, command_push, command_show, command_undo,
    command_redo, command_verify, command_export;

/* All commands but the hidden ones, ended by NULL. */
extern const command *const commands[];

/* "mobiedit: ..." as one line on stderr; returns `status`. */
int complain(int status, const char *format, ...) MOBIEDIT_PRINTF(2, 3);

/* The same for a library error, with the exit status that stands for it. */
int complain_of(const mobiedit_error *err);

/* From now on SIGINT and SIGTERM only set a flag. */
void catch_interrupts(void);
bool interrupted(void);

/* Holds the places of closed standard streams, so that no file that is opened later takes them. */
void guard_streams(void);

/* Flushes stdout; where that or any write before failed, says so and returns STATUS_FILE. Else `status`. */
int finish_output(int status);

#endif
