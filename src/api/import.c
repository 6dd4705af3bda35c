/* mobiedit_ledger_import */
#include "api/record.h"
#include "base/memory.h"
#include "base/usage.h"
#include "eval/csv.h"

#include <string.h>

static bool is_csv(const char *path) {
    const size_t n = strlen(path);
    return n >= 4 && strcmp(path + n - 4, ".csv") == 0;
}

/* Whether a failure is the fact's own, rather than a reason to stop. */
static bool is_outcome(mobiedit_status status) {
    return status == MOBIEDIT_E_NOT_SOLVED || status == MOBIEDIT_E_NOT_VERIFIED ||
           status == MOBIEDIT_E_ARGUMENT;
}

/* Whether the ledger has the fact, in whatever state. */
static mobiedit_status find_known(mobiedit_ledger *ledger, const me_prompt *prompt, int64_t *id,
                                  mobiedit_error *err) {
    char *canonical = me_prompt_canonical(prompt);
    const mobiedit_status status = canonical
                                       ? me_ledger_find(ledger->store, canonical, prompt->target, id, err)
                                       : me_fail_memory(err, "a prompt");
    me_free(canonical);
    return status;
}

static mobiedit_status edit_prompt(mobiedit_ledger *ledger, const me_record_request *ask,
                                   mobiedit_import_fact *done, mobiedit_error *err) {
    int64_t known;
    ME_TRY(find_known(ledger, ask->prompt, &known, err));
    done->outcome = MOBIEDIT_FACT_KNOWN;
    done->change.id = known;
    if (known) return MOBIEDIT_OK;
    mobiedit_edit_result result;
    const mobiedit_status status = me_record_edit(ledger, ask, &result, &done->change, err);
    done->outcome =
        result.solve.stop == MOBIEDIT_STOP_ALREADY_SAID ? MOBIEDIT_FACT_SAID : MOBIEDIT_FACT_RECORDED;
    mobiedit_edit_result_free(&result);
    return status;
}

static mobiedit_status edit_fact(mobiedit_ledger *ledger, const mobiedit_request *request,
                                 const mobiedit_edit_options *options, mobiedit_import_fact *done,
                                 mobiedit_error *err) {
    me_prompt prompt;
    ME_TRY(me_request_read(request, &prompt, err));
    const me_record_request ask = {
        .prompt = &prompt, .request = request, .options = options, .with_texts = true, .alone = true};
    const mobiedit_status status = edit_prompt(ledger, &ask, done, err);
    me_prompt_free(&prompt);
    return status;
}

static void count(mobiedit_import_summary *summary, mobiedit_fact_outcome outcome) {
    summary->recorded += outcome == MOBIEDIT_FACT_RECORDED;
    summary->known += outcome == MOBIEDIT_FACT_KNOWN;
    summary->said += outcome == MOBIEDIT_FACT_SAID;
    summary->failed += outcome == MOBIEDIT_FACT_FAILED;
}

static mobiedit_status import_fact(mobiedit_ledger *ledger, const me_fact *fact, int index, int total,
                                   const mobiedit_import_options *options, mobiedit_import_summary *summary,
                                   mobiedit_error *err) {
    mobiedit_error why = {0};
    char *prompt = me_fact_request_prompt(fact);
    if (!prompt) return me_fail_memory(err, "a prompt");
    const mobiedit_request request = {.prompt = prompt, .target = fact->target};
    mobiedit_import_fact done = {.index = index, .total = total, .prompt = prompt, .target = fact->target};
    const double started = me_wall_seconds();
    mobiedit_status status = edit_fact(ledger, &request, &options->edit, &done, &why);
    done.seconds = me_wall_seconds() - started;
    if (is_outcome(status)) {
        done.outcome = MOBIEDIT_FACT_FAILED;
        done.message = why.message;
        status = MOBIEDIT_OK;
    } else if (status != MOBIEDIT_OK) {
        status = me_fail(err, status, "%s", why.message);
    }
    if (status == MOBIEDIT_OK) {
        count(summary, done.outcome);
        if (options->on_fact && !options->on_fact(options->user, &done))
            status = me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
    }
    me_free(prompt);
    return status;
}

/* Facts [skip, skip + n). */
static mobiedit_status import_facts(mobiedit_ledger *ledger, const me_dataset *facts,
                                    const mobiedit_import_options *options, mobiedit_import_summary *summary,
                                    mobiedit_error *err) {
    if (options->n < 0 || options->skip < 0 || (size_t)options->skip >= facts->n)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "cannot skip %d facts: the file has %zu", options->skip,
                       facts->n);
    const int left = (int)facts->n - options->skip;
    const int total = options->n > 0 && options->n < left ? options->n : left;
    for (int i = 0; i < total; i++)
        ME_TRY(import_fact(ledger, &facts->facts[options->skip + i], i, total, options, summary, err));
    const mobiedit_verify_options verify = {.repair = true, .edit = options->edit};
    return mobiedit_ledger_verify(ledger, &verify, &summary->all, err);
}

mobiedit_status mobiedit_ledger_import(mobiedit_ledger *ledger, const char *facts,
                                       const mobiedit_import_options *options,
                                       mobiedit_import_summary *summary, mobiedit_error *err) {
    const mobiedit_import_options defaults = {0};
    if (!options) options = &defaults;
    me_dataset dataset;
    ME_TRY(me_check_text(facts, "the path of the facts", err));
    ME_TRY(me_check_edit_options(ledger->model, &options->edit, err));
    ME_TRY(is_csv(facts) ? me_csv_read(facts, &dataset, err) : me_dataset_read(facts, &dataset, err));
    mobiedit_import_summary done = {0};
    const mobiedit_status status = import_facts(ledger, &dataset, options, &done, err);
    me_dataset_free(&dataset);
    if (status == MOBIEDIT_OK) *summary = done;
    return status;
}
