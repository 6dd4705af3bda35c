/* The one check that no output of a command is another of its files. */
#define _POSIX_C_SOURCE 200809L
#include "files.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/parts.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files of one group may be one file. */
typedef enum { GROUP_NONE, GROUP_LEDGER, GROUP_CALIBRATION, GROUP_STREAMS } file_group;

typedef struct {
    const char *label; /* "the model", "output" */
    bool is_option;    /* the label is an option's name */
    char *path;
    bool written;
    file_group group;
} named_file;

typedef struct {
    const options *o;
    named_file *items; /* [n] */
    size_t n, capacity;
    bool whole; /* nothing is left out for want of memory */
} file_list;

/* Takes the path over. */
static void add_path(file_list *list, named_file file, char *path) {
    file.path = path;
    list->whole =
        list->whole && path && me_grow(&list->items, &list->capacity, list->n + 1, sizeof *list->items);
    if (list->whole)
        list->items[list->n++] = file;
    else
        me_free(path);
}

static void add(file_list *list, named_file file, const char *path, const char *suffix) {
    add_path(list, file, me_strjoin(path, suffix));
}

/* A ledger with what SQLite keeps beside it. */
static void add_ledger(file_list *list, named_file file, const char *path, const char *suffix) {
    static const char *const parts[] = {"", "-wal", "-shm", "-journal"};
    char *ledger = me_strjoin(path, suffix);
    list->whole = list->whole && ledger;
    file.group = GROUP_LEDGER;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0] && ledger; i++)
        add(list, file, ledger, parts[i]);
    me_free(ledger);
}

static void add_model(file_list *list, const char *path) {
    me_part_name part;
    add(list, (named_file){.label = "the model"}, path, "");
    for (int i = 1; me_part_name_read(path, &part) && i <= part.n && list->whole; i++)
        if (i != part.no)
            add_path(list, (named_file){.label = "a part of the model"}, me_part_path(path, &part, i));
    add_ledger(list, (named_file){.label = "the model's ledger"}, path, MOBIEDIT_LEDGER_SUFFIX);
    add(list, (named_file){.label = "the model's calibration", .group = GROUP_CALIBRATION}, path,
        MOBIEDIT_CALIBRATION_SUFFIX);
}

static void add_argument(file_list *list, const argument *a, const char *path) {
    if (!path || a->file == FILE_NONE) return;
    if (a->file == FILE_MODEL && !list->o->compare)
        add_model(list, path);
    else
        add(list, (named_file){.label = list->o->compare ? "a result" : "the facts"}, path, "");
}

static void add_option(void *user, const option_row *row) {
    file_list *list = user;
    named_file file = {.label = row->name, .is_option = true, .written = row->file == FILE_WRITTEN};
    if (row->file == FILE_NONE) return;
    const char *path = *(const char *const *)((const char *)list->o + row->at);
    if (!path) return;
    if (row->file == FILE_LEDGER) {
        file.written = true;
        add_ledger(list, file, path, "");
        return;
    }
    if (row->file == FILE_CALIBRATION || row->file == FILE_NEW_CALIBRATION) {
        if (strcmp(path, "none") == 0) return;
        file.group = GROUP_CALIBRATION;
        file.written = row->file == FILE_NEW_CALIBRATION;
    }
    add(list, file, path, "");
}

/* A stream that the shell has sent into a file. */
static void add_stream(file_list *list, int fd, const char *label, const char *path) {
    struct stat info;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode))
        add(list, (named_file){.label = label, .written = true, .group = GROUP_STREAMS}, path, "");
}

static int compare(const named_file *out, const named_file *other) {
    if (!out->written || out == other || (out->group && out->group == other->group)) return STATUS_DONE;
    if (!me_same_file(out->path, other->path)) return STATUS_DONE;
    return complain(STATUS_USAGE, "%s%s %s is the same file as %s%s %s: nothing was done",
                    out->is_option ? "--" : "", out->label, out->path, other->is_option ? "--" : "",
                    other->label, other->path);
}

int files_check(const command *which, const options *o) {
    file_list list = {.o = o, .whole = true};
    for (int i = 0; i < MAX_ARGUMENTS && which->arguments[i].name; i++)
        add_argument(&list, &which->arguments[i], o->positional[i]);
    options_each(which, add_option, &list);
    add_stream(&list, STDOUT_FILENO, "standard output", "/dev/stdout");
    add_stream(&list, STDERR_FILENO, "standard error", "/dev/stderr");
    int status = list.whole ? STATUS_DONE : complain(STATUS_MEMORY, "out of memory for the names of files");
    for (size_t i = 0; i < list.n && status == STATUS_DONE; i++)
        for (size_t j = 0; j < list.n && status == STATUS_DONE; j++)
            status = compare(&list.items[i], &list.items[j]);
    for (size_t i = 0; i < list.n; i++)
        me_free(list.items[i].path);
    me_free(list.items);
    return status;
}
