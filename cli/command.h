/* What the commands share: exit statuses, one-line errors, interruption, output. */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "status.h"

#include "mobiedit.h"

typedef struct options options;       /* options.h */
typedef struct option_row option_row; /* options.h */

enum { MAX_ARGUMENTS = 3, MAX_TABLES = 5 };

/* What the text of an argument or option names. */
typedef enum {
    FILE_NONE,           /* no file */
    FILE_MODEL,          /* a model; its ledger and its calibration stand beside it */
    FILE_READ,           /* a file that is read */
    FILE_WRITTEN,        /* a file that is made or replaced, or goes on being written */
    FILE_LEDGER,         /* the ledger that is used instead of the model's */
    FILE_CALIBRATION,    /* the same of the calibration; "none" is no file */
    FILE_NEW_CALIBRATION /* the same, which is written */
} file_role;

typedef struct {
    const char *name; /* NULL ends a list of them */
    file_role file;
} argument;

typedef struct {
    const char *name;
    const char *usage;                     /* after the name */
    const char *summary;                   /* one line */
    argument arguments[MAX_ARGUMENTS];     /* beside the options */
    bool may_lack_arguments;               /* those after the given ones are then NULL */
    const option_row *options[MAX_TABLES]; /* tables of rows, in the order of the help */
    int (*run)(const options *o);          /* its exit status */
} command;

extern const command command_edit, command_ask, command_calibrate, command_completion, command_devices,
    command_help, command_eval, command_import, command_inspect, command_list, command_merge, command_push,
    command_serve, command_show, command_undo, command_redo, command_verify, command_export;

/* All commands but the hidden ones, ended by NULL. */
extern const command *const commands[];
const command *command_find(const char *name); /* also a hidden one; NULL: there is none */
int command_start(const command *which, int argc, const char **argv); /* its exit status */

/* "mobiedit: ..." as one line on stderr, which cannot command a terminal; returns `status`. */
int complain(int status, const char *format, ...) MOBIEDIT_PRINTF(2, 3);

/* The same for a library error, with the exit status that stands for it. */
int complain_of(const mobiedit_error *err);

/* The kind and the message of the first failure that was told of; where none was, the name of `status`, and
 * NULL. */
const char *first_failure(int status, const char **message);

/* From now on SIGINT and SIGTERM only set a flag. */
void catch_interrupts(void);
bool interrupted(void);

/* Holds the places of closed standard streams, so that no file that is opened later takes them. */
void guard_streams(void);

/* Before a command that changes files: refuses a stdout that is closed, full, or read by nobody, because what
 * was done could not be told. STATUS_DONE, or STATUS_FILE after a one-line error. */
int check_output(void);

/* Whether all that was printed so far has arrived. */
bool output_arrived(void);

/* Flushes stdout; where that or any write before failed, says so and returns STATUS_FILE. Else `status`. */
int finish_output(int status);

#endif
