/* Fuzzes the reader of ledgers: any bytes are refused with one line, or give records that are whole. What can
 * be read is also opened to be changed, and the change taken back. */
#define _GNU_SOURCE
#include "bare_model.h"
#include "base/utf8.h"
#include "store/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In memory, but with a name: SQLite follows links, and so does not open what memfd_create gives. */
static char path[64];

static void remove_files(void) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char name[80];
        (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        (void)unlink(name);
    }
}

/* Starts a process that removes the files when this one has ended, however that came: an interrupt, a kill
 * and an abort run no atexit handlers. It has a session of its own, so that an interrupt of the terminal
 * spares it. */
static bool start_cleaner(void) {
    int alive[2]; /* nothing is ever written; what is open at this end closes with the process */
    if (pipe2(alive, O_CLOEXEC) != 0) return false;
    const pid_t cleaner = fork();
    if (cleaner != 0) return cleaner > 0 && close(alive[0]) == 0;
    char none;
    (void)setsid();
    (void)close(alive[1]);
    while (read(alive[0], &none, 1) < 0 && errno == EINTR)
        continue;
    remove_files();
    _exit(0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    (void)snprintf(path, sizeof path, "/dev/shm/fuzz_ledger.%ld", (long)getpid());
    if (!start_cleaner()) {
        perror("the process that cleans up");
        exit(1);
    }
    return 0;
}

static void write_file(const uint8_t *data, size_t size) {
    remove_files();
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) != 0) {
        perror(path);
        exit(1);
    }
}

static void check_floats(const float *values, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(values[i])) abort();
}

static void check_text(const char *text) {
    if (!text || !me_utf8_valid(text)) abort();
}

/* What callers rely on; a breach ends the run. */
static void check_record(const me_record *r, bool with_data) {
    const mobiedit_record *a = &r->about;
    check_text(a->prompt);
    check_text(a->target);
    check_text(a->before);
    check_text(a->after);
    for (size_t i = 0; i < a->n_keep; i++)
        check_text(a->keep[i]);
    if (a->solve.layer < 0 || a->solve.layer >= 2 || !mobiedit_stop_name(a->solve.stop)) abort();
    if (!mobiedit_record_state_name(a->state)) abort();
    if (with_data != (r->delta != NULL) || r->n_keys < 0 || (r->n_keys > 0) != (r->keys != NULL)) abort();
    if (!with_data) return;
    check_floats(r->delta, BARE_D_MODEL);
    check_floats(r->keys, (size_t)r->n_keys * BARE_D_MODEL);
}

/* One line tells of every failure. */
static bool worked(mobiedit_status status, const mobiedit_error *err) {
    if (status == MOBIEDIT_OK) return true;
    if (err->status != status || !*err->message || strchr(err->message, '\n')) abort();
    return false;
}

static void read_records(me_ledger *ledger, bool with_data) {
    const me_record_query query = {.with_data = with_data};
    mobiedit_error err = {0};
    me_records records = {0};
    if (!worked(me_ledger_read(ledger, &query, &records, &err), &err)) return;
    for (int i = 0; i < records.n; i++)
        check_record(&records.items[i], with_data);
    me_records_free(&records);
}

static void read_ledger(me_ledger *ledger) {
    mobiedit_error err = {0};
    int64_t number;
    read_records(ledger, false);
    read_records(ledger, true);
    (void)worked(me_ledger_generation(ledger, &number, &err), &err);
    (void)worked(me_ledger_find(ledger, "{a} is", "b", &number, &err), &err);
    (void)worked(me_ledger_last(ledger, MOBIEDIT_RECORD_UNDONE, &number, &err), &err);
}

static void change_ledger(me_ledger *ledger) {
    mobiedit_error err = {0};
    if (!worked(me_ledger_begin(ledger, &err), &err)) return;
    if (worked(me_ledger_set_holds(ledger, 1, true, &err), &err))
        (void)worked(me_ledger_set_state(ledger, 1, MOBIEDIT_RECORD_UNDONE, 0, &err), &err);
    me_ledger_rollback(ledger);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const me_model model = bare_model();
    write_file(data, size);
    for (int write = 0; write < 2; write++) {
        me_ledger *ledger = NULL;
        mobiedit_error err = {0};
        if (!worked(me_ledger_open(path, &model, BARE_FINGERPRINT, write, &ledger, &err), &err)) {
            if (ledger) abort();
            break;
        }
        if (write)
            change_ledger(ledger);
        else
            read_ledger(ledger);
        me_ledger_close(ledger);
    }
    return 0;
}
