/* Options and positional arguments of the commands. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "command.h"

#include <stddef.h>

struct poptContext_s;

typedef struct {
    const char **items; /* [n] */
    size_t n;
} text_list;

/* The value of every option there is; each command takes those that its tables name. */
struct options {
    const char *solver, *place;
    int layer;
    uint64_t max_evaluations;
    uint64_t seed;
    double probe_step;
    mobiedit_model_options model;
    struct mobiedit_model_advanced model_advanced; /* model.advanced points here */
    struct mobiedit_edit_advanced edit_advanced;
    const char *hub; /* where positional[0] is a model: its repository on Hugging Face */
    const char *output, *trace, *adapter, *ledger, *html, *state, *system, *baseline, *listen;
    const char *modelfile;
    const char *preset, *section, *served, *served_hub; /* of push: what it writes into a router's preset */
    text_list keep, also, check, turns;
    int max_tokens;
    int port;
    int n, skip;
    double scale;
    bool help, quiet, json, chat, keep_float, no_ledger, repair, force, strict;
    bool no_fluency, no_drift, no_answers, quick, compare, time;
    const char *positional[MAX_ARGUMENTS];

    struct poptContext_s *context; /* owns the positional arguments */
    char **owned;                  /* the options' values */
    size_t n_owned;
    char *found; /* the path of `hub` */
};

/* What the text behind an option is read as, and the type of the member that it goes to. */
typedef enum {
    OPTION_FLAG,  /* bool; no text follows */
    OPTION_TEXT,  /* const char * */
    OPTION_TEXTS, /* text_list: the option may be given more than once */
    OPTION_INT,   /* int, from `least` to `most` */
    OPTION_COUNT, /* uint64_t, from `least` to `most` */
    OPTION_BYTES, /* size_t: bytes, or K, M, G of 1024 */
    OPTION_REAL,  /* double, from `least` to `most` */
    OPTION_WATTS, /* double, from `least` to `most`, or "measure" */
    OPTION_PARTS, /* unsigned: MOBIEDIT_WITHOUT_*, names with commas between them */
} option_kind;

/* An option: the row is all that there is to say about it. */
struct option_row {
    const char *name;
    char letter;   /* '\0': none */
    bool one_dash; /* -name, as llama.cpp has it */
    option_kind kind;
    size_t at; /* of the member in struct options */
    int64_t least;
    uint64_t most;
    file_role file; /* of an OPTION_TEXT */
    const char *help;
    const char *value; /* what the help calls the text that follows; NULL: none does */
};

/* Rows that several commands have. */
#define OPTION_ROW_JSON                                                                                      \
    { .name = "json", .at = offsetof(options, json), .help = "print the result as one JSON object" }
#define OPTION_ROW_THREADS                                                                                   \
    {                                                                                                        \
        .name = "threads", .letter = 't', .kind = OPTION_INT, .at = offsetof(options, model.threads),        \
        .least = 1, .most = INT32_MAX, .help = "threads (one per processor)", .value = "N"                   \
    }
#define OPTION_ROW_BACKEND                                                                                   \
    {                                                                                                        \
        .name = "backend", .kind = OPTION_TEXT, .at = offsetof(options, model.backend),                      \
        .help = "a name from mobiedit devices, auto, or rpc:HOST:PORT", .value = "NAME"                      \
    }
#define OPTION_ROW_LEDGER                                                                                    \
    {                                                                                                        \
        .name = "ledger", .kind = OPTION_TEXT, .at = offsetof(options, ledger), .file = FILE_LEDGER,         \
        .help = "the ledger (MODEL.gguf.mobiedit.db)", .value = "FILE"                                       \
    }
#define OPTION_ROW_OUTPUT(what)                                                                              \
    {                                                                                                        \
        .name = "output", .letter = 'o', .kind = OPTION_TEXT, .at = offsetof(options, output),               \
        .file = FILE_WRITTEN, .help = (what), .value = "FILE"                                                \
    }
#define OPTION_ROW_FORCE                                                                                     \
    {                                                                                                        \
        .name = "force", .at = offsetof(options, force),                                                     \
        .help = "edit even if the model says the target by itself"                                           \
    }
#define OPTION_ROW_STRICT                                                                                    \
    {                                                                                                        \
        .name = "strict", .at = offsetof(options, strict),                                                   \
        .help = "refuse an edit that changes other things about the subject"                                 \
    }
#define OPTION_ROW_DESCRIBE                                                                                  \
    {                                                                                                        \
        .name = "describe", .at = offsetof(options, model.describe),                                         \
        .help = "name the facts in the file's metadata, in plain text"                                       \
    }
#define OPTION_ROW_ADAPTER(what)                                                                             \
    {                                                                                                        \
        .name = "adapter", .letter = 'a', .kind = OPTION_TEXT, .at = offsetof(options, adapter),             \
        .file = FILE_READ, .help = (what), .value = "FILE"                                                   \
    }
#define OPTION_ROW_LAYER(what)                                                                               \
    {                                                                                                        \
        .name = "layer", .kind = OPTION_INT, .at = offsetof(options, layer), .most = INT32_MAX,              \
        .help = (what), .value = "N"                                                                         \
    }
#define OPTION_ROW_END                                                                                       \
    { .name = NULL }

/* Tables that several commands have, each ended by OPTION_ROW_END. */
extern const option_row options_running[];   /* of all that runs the model for long */
extern const option_row options_solving[];   /* of all that makes edits */
extern const option_row options_measuring[]; /* of what tells what an edit takes */
extern const option_row options_picking[];   /* of what goes through a file of facts */

/* Calls `visit` for each row of the command's tables; last -hf, if it takes a model, and --help. */
typedef void (*option_fn)(void *user, const option_row *row);
void options_each(const command *which, option_fn visit, void *user);

/* Reads the command line of `which`. Returns true if the command is to go on; else *status is its exit
 * status, and help or a one-line error has been printed. Call options_free in any case. */
bool options_read(const command *which, int argc, const char **argv, options *out, int *status);
void options_free(options *o);

/* The number of an edit, or 0 for "last"; false after a one-line error. */
bool options_read_id(const char *text, int64_t *id);

/* How the command line wants edits to be solved. */
mobiedit_edit_options options_edit(const options *o, mobiedit_progress_fn on_progress, void *user);

#endif
