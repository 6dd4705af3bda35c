/* mobiedit_ledger_verify */
#include "api/book.h"

#include "eval/drift.h"

#include <math.h>

/* Most times that lost edits are solved anew. */
enum { MAX_REPAIRS = 3 };

static mobiedit_status ask_all(mobiedit_ledger *ledger, me_book *book, int *n_lost, mobiedit_error *err) {
    ME_TRY(me_book_solve(ledger->model, book, err));
    return me_book_try(ledger, book, n_lost, err);
}

static mobiedit_status repair(mobiedit_ledger *ledger, me_book *book, const mobiedit_edit_options *options,
                              int *n_lost, mobiedit_error *err) {
    for (int i = 0; i < MAX_REPAIRS && *n_lost; i++) {
        ME_TRY(me_book_repair(ledger, book, options, err));
        ME_TRY(ask_all(ledger, book, n_lost, err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status record_locked(mobiedit_ledger *ledger, const me_book *book, int *n_anew,
                                     mobiedit_error *err) {
    int64_t generation;
    ME_TRY(me_ledger_generation(ledger->store, &generation, err));
    if (generation != book->generation)
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s was changed while it was verified; verify it again",
                       ledger->path);
    return me_book_record(ledger, book, n_anew, err);
}

static mobiedit_status record(mobiedit_ledger *ledger, const me_book *book, int *n_anew,
                              mobiedit_error *err) {
    ME_TRY(me_ledger_begin(ledger->store, err));
    const mobiedit_status status = record_locked(ledger, book, n_anew, err);
    if (status == MOBIEDIT_OK) return me_ledger_commit(ledger->store, err);
    me_ledger_rollback(ledger->store);
    return status;
}

/* What the solved edits do to text that has nothing to do with them. */
static mobiedit_status measure_drift(mobiedit_ledger *ledger, const me_book *book, double *out,
                                     mobiedit_error *err) {
    me_runtime *runtime;
    me_drift *drift;
    me_pending_file adapter;
    ME_TRY(me_handle_runtime(ledger->model, &runtime, err));
    ME_TRY(me_drift_open(runtime, &drift, err));
    mobiedit_status status = me_book_write(ledger->model, book, ledger->path, &adapter, err);
    if (status == MOBIEDIT_OK) {
        status = me_runtime_set_adapter(runtime, adapter.temporary, err);
        if (status == MOBIEDIT_OK) status = me_drift_measure(drift, runtime, out, err);
        if (status == MOBIEDIT_OK) status = me_runtime_set_adapter(runtime, NULL, err);
        me_pending_discard(&adapter);
    }
    me_drift_close(drift);
    return status;
}

static mobiedit_status verify(mobiedit_ledger *ledger, me_book *book, const mobiedit_verify_options *options,
                              mobiedit_verify_summary *summary, mobiedit_error *err) {
    int n_lost, n_anew;
    double drift;
    me_book_watch(book, &options->edit);
    ME_TRY(ask_all(ledger, book, &n_lost, err));
    if (options->repair) ME_TRY(repair(ledger, book, &options->edit, &n_lost, err));
    ME_TRY(measure_drift(ledger, book, &drift, err));
    ME_TRY(record(ledger, book, &n_anew, err));
    *summary = (mobiedit_verify_summary){
        .active = book->records.n, .hold = book->records.n - n_lost, .resolved = n_anew, .drift = drift};
    for (int i = 0; i < book->records.n && options->on_record; i++)
        if (!options->on_record(options->user, &book->records.items[i].about)) break;
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_ledger_verify(mobiedit_ledger *ledger, const mobiedit_verify_options *options,
                                       mobiedit_verify_summary *summary, mobiedit_error *err) {
    const mobiedit_verify_options defaults = {.edit = {.layer = -1}};
    const me_book_choice all = {0};
    if (!options) options = &defaults;
    me_book book;
    ME_TRY(me_check_edit_options(ledger->model, &options->edit, err));
    ME_TRY(me_book_open(ledger, &all, &book, err));
    mobiedit_verify_summary found = {.drift = NAN};
    const mobiedit_status status = book.records.n ? verify(ledger, &book, options, &found, err) : MOBIEDIT_OK;
    me_book_close(&book);
    if (status == MOBIEDIT_OK) *summary = found;
    return status;
}
