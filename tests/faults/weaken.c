/* weaken MODEL LEDGER ID FACTOR: makes the delta of a recorded edit shorter, so that the edit may be lost. */
#include "store/fingerprint.h"
#include "store/ledger.h"

#include <stdio.h>
#include <stdlib.h>

static mobiedit_status weaken(me_ledger *ledger, const me_model *model, int64_t id, float factor,
                              mobiedit_error *err) {
    const me_record_query query = {.id = id, .with_data = true};
    me_records records;
    ME_TRY(me_ledger_read(ledger, &query, &records, err));
    mobiedit_status status =
        records.n == 1 ? me_ledger_begin(ledger, err) : me_fail(err, MOBIEDIT_E_ARGUMENT, "no such edit");
    for (int i = 0; i < model->d_model && status == MOBIEDIT_OK; i++)
        records.items[0].delta[i] *= factor;
    if (status == MOBIEDIT_OK) status = me_ledger_replace(ledger, &records.items[0], err);
    if (status == MOBIEDIT_OK) status = me_ledger_commit(ledger, err);
    me_records_free(&records);
    return status;
}

int main(int argc, char **argv) {
    me_model *model = NULL;
    me_ledger *ledger = NULL;
    mobiedit_error err = {0};
    char fingerprint[ME_FINGERPRINT_SIZE];
    if (argc != 5) return EXIT_FAILURE;
    mobiedit_status status = me_model_open(argv[1], &model, &err);
    if (status == MOBIEDIT_OK) status = me_fingerprint(model, fingerprint, &err);
    if (status == MOBIEDIT_OK) status = me_ledger_open(argv[2], model, fingerprint, true, &ledger, &err);
    if (status == MOBIEDIT_OK)
        status = weaken(ledger, model, strtoll(argv[3], NULL, 10), strtof(argv[4], NULL), &err);
    if (status != MOBIEDIT_OK) (void)fprintf(stderr, "%s\n", err.message);
    me_ledger_close(ledger);
    me_model_close(model);
    return status == MOBIEDIT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
