/* The adapter of all active edits, exported into a file that is unlinked at once. */
#define _GNU_SOURCE
#include "serve/adapter.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- what is active ------------------------------------------------------------------------------------ */

typedef struct {
    FILE *text;
    int edits; /* that change something */
} listing;

static bool list_record(void *user, const mobiedit_record *r) {
    listing *l = user;
    if (r->state != MOBIEDIT_RECORD_ACTIVE) return true;
    l->edits += r->solve.stop != MOBIEDIT_STOP_ALREADY_SAID;
    (void)fprintf(l->text, "%lld %lld %.9g;", (long long)r->id, (long long)r->changed, (double)r->solve.loss);
    return true;
}

static char *list_active(mobiedit_ledger *ledger, int *edits, mobiedit_error *err) {
    char *text = NULL;
    size_t n = 0;
    listing l = {.text = open_memstream(&text, &n)};
    mobiedit_status status =
        l.text ? mobiedit_ledger_list(ledger, 0, list_record, &l, err) : me_fail_memory(err, "the edits");
    if (l.text && fclose(l.text) != 0 && status == MOBIEDIT_OK) status = me_fail_memory(err, "the edits");
    *edits = l.edits;
    if (status == MOBIEDIT_OK) return text;
    free(text);
    return NULL;
}

char *adapter_state(mobiedit_ledger *ledger, mobiedit_error *err) {
    int edits;
    return list_active(ledger, &edits, err);
}

/* ---- the file ------------------------------------------------------------------------------------------ */

/* Opens what is at `path`, and takes its name away. */
static mobiedit_status take_file(const char *path, adapter *out, mobiedit_error *err) {
    out->fd = open(path, O_RDONLY | O_CLOEXEC);
    const int error = errno;
    (void)unlink(path);
    if (out->fd < 0)
        return me_fail(err, MOBIEDIT_E_IO, "cannot read the adapter %s: %s", path, strerror(error));
    (void)snprintf(out->path, sizeof out->path, "/proc/self/fd/%d", out->fd);
    return MOBIEDIT_OK;
}

static mobiedit_status export_file(mobiedit_ledger *ledger, adapter *out, mobiedit_error *err) {
    const char *temporary = getenv("TMPDIR");
    char folder[4096], path[4096 + 16];
    const int n =
        snprintf(folder, sizeof folder, "%s/mobiedit-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (n < 0 || (size_t)n >= sizeof folder || !mkdtemp(folder))
        return me_fail(err, MOBIEDIT_E_IO, "cannot make a folder for temporary files in %.200s: %s",
                       temporary && *temporary ? temporary : "/tmp", strerror(errno));
    (void)snprintf(path, sizeof path, "%s/edits.gguf", folder);
    mobiedit_status status = mobiedit_ledger_export(ledger, path, err);
    if (status == MOBIEDIT_OK) status = take_file(path, out, err);
    (void)rmdir(folder);
    return status;
}

mobiedit_status adapter_export(mobiedit_ledger *ledger, adapter *out, mobiedit_error *err) {
    adapter made = {.fd = -1};
    int edits;
    made.state = list_active(ledger, &edits, err);
    mobiedit_status status = made.state ? MOBIEDIT_OK : err->status;
    if (status == MOBIEDIT_OK && edits > 0) status = export_file(ledger, &made, err);
    if (status == MOBIEDIT_OK)
        *out = made;
    else
        adapter_close(&made);
    return status;
}

void adapter_close(adapter *a) {
    if (a->fd >= 0) (void)close(a->fd);
    free(a->state);
    *a = (adapter){.fd = -1};
}

const char *adapter_path(const adapter *a) {
    return a->fd >= 0 ? a->path : NULL;
}
