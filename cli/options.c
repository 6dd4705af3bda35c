/* Reads a command's line by its table of options, and checks what belongs together. */
#include "options.h"

#include "base/memory.h"
#include "hub.h"
#include "values.h"

#include <popt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const option_row options_running[] = {
    OPTION_ROW_THREADS,
    {.name = "mem",
     .kind = OPTION_BYTES,
     .at = offsetof(options, model.memory_bytes),
     .help = "memory for batches, such as 256M",
     .value = "SIZE"},
    {.name = "quiet", .letter = 'q', .at = offsetof(options, quiet), .help = "show no progress on stderr"},
    OPTION_ROW_JSON,
    OPTION_ROW_END};

const option_row options_solving[] = {OPTION_ROW_BACKEND,
                                      {.name = "calibration",
                                       .kind = OPTION_TEXT,
                                       .at = offsetof(options, model.calibration),
                                       .file = FILE_CALIBRATION,
                                       .help = "the calibration (MODEL.gguf.mobiedit.calibration), or none",
                                       .value = "FILE"},
                                      {.name = "solver",
                                       .kind = OPTION_TEXT,
                                       .at = offsetof(options, solver),
                                       .help = "probe (the default) or spsa",
                                       .value = "NAME"},
                                      OPTION_ROW_LAYER("the layer to edit"),
                                      {.name = "place",
                                       .kind = OPTION_TEXT,
                                       .at = offsetof(options, place),
                                       .help = "where to edit: auto (the default), answer, subject",
                                       .value = "NAME"},
                                      {.name = "max-evals",
                                       .kind = OPTION_COUNT,
                                       .at = offsetof(options, max_evaluations),
                                       .least = 1,
                                       .most = SIZE_MAX / 2,
                                       .help = "the most prompt evaluations per edit",
                                       .value = "N"},
                                      {.name = "seed",
                                       .kind = OPTION_COUNT,
                                       .at = offsetof(options, seed),
                                       .most = UINT64_MAX,
                                       .help = "the seed of everything random (0)",
                                       .value = "N"},
                                      OPTION_ROW_END};

const option_row options_measuring[] = {{.name = "profile",
                                         .kind = OPTION_TEXT,
                                         .at = offsetof(options, model_advanced.profile),
                                         .help = "compute as an NPU does: w8a16-static, w8a8-static",
                                         .value = "NAME"},
                                        {.name = "probe-step",
                                         .kind = OPTION_REAL,
                                         .at = offsetof(options, probe_step),
                                         .most = 1000,
                                         .help = "expert: the length of probe's steps, in |v|",
                                         .value = "X"},
                                        {.name = "idle-watts",
                                         .kind = OPTION_WATTS,
                                         .at = offsetof(options, edit_advanced.idle_watts),
                                         .most = 1000,
                                         .help = "idle power, not counted as energy; or measure",
                                         .value = "W"},
                                        OPTION_ROW_END};

const option_row options_picking[] = {{.name = "n",
                                       .letter = 'n',
                                       .kind = OPTION_INT,
                                       .at = offsetof(options, n),
                                       .least = 1,
                                       .most = INT32_MAX,
                                       .help = "the number of facts (all)",
                                       .value = "N"},
                                      {.name = "skip",
                                       .kind = OPTION_INT,
                                       .at = offsetof(options, skip),
                                       .most = INT32_MAX,
                                       .help = "facts to skip at the start",
                                       .value = "N"},
                                      OPTION_ROW_END};

static const option_row options_model[] = {{.name = "hf",
                                            .one_dash = true,
                                            .kind = OPTION_TEXT,
                                            .at = offsetof(options, hub),
                                            .help =
                                                "the model, in place of its path: one that llama.cpp or hf "
                                                "has downloaded",
                                            .value = "USER/REPO[:QUANT]"},
                                           {.name = "hf-repo",
                                            .kind = OPTION_TEXT,
                                            .at = offsetof(options, hub),
                                            .help = "the same",
                                            .value = "USER/REPO[:QUANT]"},
                                           OPTION_ROW_END};

static const option_row options_help[] = {
    {.name = "help", .letter = 'h', .at = offsetof(options, help), .help = "this text"}, OPTION_ROW_END};

/* ---- tables ------------------------------------------------------------------------------------------ */

static bool takes_model(const command *which) {
    return which->arguments[0].file == FILE_MODEL;
}

void options_each(const command *which, option_fn visit, void *user) {
    for (int i = 0; i < MAX_TABLES && which->options[i]; i++)
        for (const option_row *row = which->options[i]; row->name; row++)
            visit(user, row);
    for (const option_row *row = options_model; row->name && takes_model(which); row++)
        visit(user, row);
    for (const option_row *row = options_help; row->name; row++)
        visit(user, row);
}

/* A command's rows, and the same as popt's table: entry i of it has the value i + 1. */
typedef struct {
    const option_row **rows; /* [n] */
    struct poptOption *popt; /* [n + 1] */
    int n;
} row_table;

static void count_row(void *user, const option_row *row) {
    (void)row;
    ++*(int *)user;
}

static void add_row(void *user, const option_row *row) {
    row_table *table = user;
    table->rows[table->n] = row;
    table->popt[table->n] =
        (struct poptOption){.longName = row->name,
                            .shortName = row->letter,
                            .argInfo = (row->kind == OPTION_FLAG ? POPT_ARG_NONE : POPT_ARG_STRING) |
                                       (row->one_dash ? POPT_ARGFLAG_ONEDASH : 0),
                            .val = table->n + 1,
                            .descrip = row->help,
                            .argDescrip = row->value};
    table->n++;
}

static bool make_table(const command *which, row_table *out) {
    int n = 0;
    options_each(which, count_row, &n);
    out->rows = calloc((size_t)n + 1, sizeof *out->rows);
    out->popt = calloc((size_t)n + 1, sizeof *out->popt);
    if (!out->rows || !out->popt) return false;
    options_each(which, add_row, out);
    return true;
}

static void free_table(row_table *table) {
    free(table->rows);
    free(table->popt);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

/* What popt found wrong, as one line. */
static bool refuse(const command *which, const options *o, int code) {
    (void)complain(STATUS_USAGE, "%s: %s (see mobiedit %s --help)", poptBadOption(o->context, 0),
                   poptStrerror(code), which->name);
    return false;
}

static bool read_options(const command *which, const row_table *table, options *o) {
    int entry;
    while ((entry = poptGetNextOpt(o->context)) > 0) {
        char *text = poptGetOptArg(o->context);
        if (text) o->owned[o->n_owned++] = text;
        if (!value_read(table->rows[entry - 1], text, o)) return false;
    }
    return entry == -1 || refuse(which, o, entry);
}

static bool read_positional(const command *which, options *o) {
    const char *const *args = poptGetArgs(o->context);
    int n = o->hub ? 1 : 0;
    for (; args && *args && n < MAX_ARGUMENTS && which->arguments[n].name; n++)
        o->positional[n] = *args++;
    if (args && *args)
        (void)complain(STATUS_USAGE, "\"%s\" is one argument too many (usage: mobiedit %s %s)", *args,
                       which->name, which->usage);
    else if (n < MAX_ARGUMENTS && which->arguments[n].name && !which->may_lack_arguments)
        (void)complain(STATUS_USAGE, "%s is missing (usage: mobiedit %s %s)", which->arguments[n].name,
                       which->name, which->usage);
    else
        return true;
    return false;
}

/* The path of a model that is named by its repository. */
static int find_model(options *o) {
    mobiedit_error err = {0};
    if (!o->hub) return STATUS_DONE;
    if (o->compare) return complain(STATUS_USAGE, "-hf names a model, but --compare takes two results");
    if (hub_find(o->hub, &o->found, &err) != MOBIEDIT_OK) return complain_of(&err);
    o->positional[0] = o->found;
    return STATUS_DONE;
}

static bool make_room(int argc, options *o) {
    const size_t most = (size_t)argc + 1;
    o->owned = calloc(most, sizeof *o->owned);
    o->keep.items = calloc(most, sizeof *o->keep.items);
    o->also.items = calloc(most, sizeof *o->also.items);
    o->check.items = calloc(most, sizeof *o->check.items);
    o->turns.items = calloc(most, sizeof *o->turns.items);
    return o->owned && o->keep.items && o->also.items && o->check.items && o->turns.items;
}

/* With the context made; STATUS_DONE and *go unset after --help. */
static int read_line(const command *which, const row_table *table, options *o, bool *go) {
    char usage[160];
    (void)snprintf(usage, sizeof usage, "%s\n%s", which->usage, which->summary);
    poptSetOtherOptionHelp(o->context, usage);
    if (!read_options(which, table, o)) return STATUS_USAGE;
    if (o->help) {
        poptPrintHelp(o->context, stdout, 0);
        return STATUS_DONE;
    }
    const int status = read_positional(which, o) ? find_model(o) : STATUS_USAGE;
    *go = status == STATUS_DONE;
    return status;
}

bool options_read(const command *which, int argc, const char **argv, options *out, int *status) {
    char name[32];
    row_table table = {0};
    bool go = false;
    *out = (options){.layer = -1, .scale = 1};
    out->model.advanced = &out->model_advanced;
    (void)snprintf(name, sizeof name, "mobiedit %s", which->name);
    argv[0] = name;
    if (make_table(which, &table) && make_room(argc, out))
        out->context = poptGetContext(NULL, argc, argv, table.popt, 0);
    if (out->context)
        *status = read_line(which, &table, out, &go);
    else
        *status = complain(STATUS_MEMORY, "out of memory for the options");
    free_table(&table);
    out->edit_advanced.probe_step = (float)out->probe_step;
    return go;
}

bool options_read_id(const char *text, int64_t *id) {
    uint64_t value;
    *id = 0;
    if (strcmp(text, "last") == 0) return true;
    if (value_number(text, INT64_MAX, &value) && value > 0) {
        *id = (int64_t)value;
        return true;
    }
    (void)complain(STATUS_USAGE, "\"%.40s\" is neither the number of an edit nor \"last\"", text);
    return false;
}

mobiedit_edit_options options_edit(const options *o, mobiedit_progress_fn on_progress, void *user) {
    return (mobiedit_edit_options){.solver = o->solver,
                                   .fix_layer = o->layer >= 0,
                                   .layer = o->layer >= 0 ? o->layer : 0,
                                   .max_evaluations = (size_t)o->max_evaluations,
                                   .seed = o->seed,
                                   .force = o->force,
                                   .strict = o->strict,
                                   .place = o->place,
                                   .on_progress = on_progress,
                                   .user = user,
                                   .advanced = &o->edit_advanced};
}

void options_free(options *o) {
    for (size_t i = 0; i < o->n_owned; i++)
        free(o->owned[i]);
    free(o->owned);
    free(o->keep.items);
    free(o->also.items);
    free(o->check.items);
    free(o->turns.items);
    me_free(o->found);
    if (o->context) poptFreeContext(o->context);
    *o = (options){0};
}
