/* mobiedit_ledger_import */
#include "api/asides.h"
#include "api/record.h"
#include "base/memory.h"
#include "base/usage.h"
#include "eval/dataset.h"
#include "eval/repeats.h"

#include <string.h>

/* The ledger's edit of the very fact: *id is 0 if it has none. */
static mobiedit_status find_known(mobiedit_ledger *ledger, const me_prompt *prompt, int64_t *id,
                                  mobiedit_record_state *state, mobiedit_error *err) {
    char *canonical = me_prompt_canonical(prompt);
    const mobiedit_status status = canonical
                                       ? me_ledger_find(ledger->store, canonical, prompt->target, id, err)
                                       : me_fail_memory(err, "a prompt");
    me_free(canonical);
    if (status != MOBIEDIT_OK || *id == 0) return status;
    const me_record_query query = {.id = *id};
    me_records found;
    ME_TRY(me_ledger_read(ledger->store, &query, &found, err));
    if (found.n == 1)
        *state = found.items[0].about.state;
    else
        *id = 0;
    me_records_free(&found);
    return MOBIEDIT_OK;
}

static mobiedit_status edit_prompt(mobiedit_ledger *ledger, const me_record_request *ask,
                                   mobiedit_import_fact *done, mobiedit_error *why) {
    int64_t known;
    mobiedit_record_state state = MOBIEDIT_RECORD_ACTIVE;
    ME_TRY(find_known(ledger, ask->prompt, &known, &state, why));
    if (known && state == MOBIEDIT_RECORD_SUPERSEDED) {
        done->outcome = MOBIEDIT_FACT_REDONE; /* the file has it, as it is */
        return mobiedit_ledger_redo(ledger, known, &done->change, why);
    }
    if (known && state == MOBIEDIT_RECORD_UNDONE) {
        done->outcome = MOBIEDIT_FACT_KNOWN;
        done->change.id = known;
        (void)me_fail(why, MOBIEDIT_OK, "edit %lld was undone, and stays undone", (long long)known);
        done->message = why->message;
        return MOBIEDIT_OK;
    }
    mobiedit_edit_result result;
    const mobiedit_status status = me_record_edit(ledger, ask, &result, &done->change, why);
    done->outcome = done->change.known                                ? MOBIEDIT_FACT_KNOWN
                    : result.solve.stop == MOBIEDIT_STOP_ALREADY_SAID ? MOBIEDIT_FACT_SAID
                                                                      : MOBIEDIT_FACT_RECORDED;
    done->high_loss = result.high_loss;
    done->known_as = result.known_as; /* freed by import_fact */
    result.known_as = NULL;
    done->asides = result.asides;
    result.asides = (mobiedit_asides){.chat = -1};
    mobiedit_edit_result_free(&result);
    return status;
}

typedef struct {
    mobiedit_ledger *ledger;
    const mobiedit_import_options *options;
    bool at_answer; /* where its edits are made: all at one kind of place */
    const me_dataset *facts;
    size_t *last; /* see me_last_of_prompt */
    mobiedit_import_summary summary;
} importing;

static mobiedit_status edit_fact(const importing *i, const mobiedit_request *request,
                                 mobiedit_import_fact *done, mobiedit_error *why) {
    me_prompt prompt;
    ME_TRY(me_request_open(i->ledger->model, request, &prompt, why));
    prompt.at_answer = i->at_answer;
    const me_record_request ask = {.prompt = &prompt,
                                   .request = request,
                                   .options = &i->options->edit,
                                   .with_texts = true,
                                   .alone = true};
    const mobiedit_status status = edit_prompt(i->ledger, &ask, done, why);
    me_prompt_free(&prompt);
    return status;
}

static void count(mobiedit_import_summary *summary, mobiedit_fact_outcome outcome) {
    summary->recorded += outcome == MOBIEDIT_FACT_RECORDED;
    summary->redone += outcome == MOBIEDIT_FACT_REDONE;
    summary->known += outcome == MOBIEDIT_FACT_KNOWN;
    summary->said += outcome == MOBIEDIT_FACT_SAID;
    summary->failed += outcome == MOBIEDIT_FACT_FAILED;
    summary->replaced += outcome == MOBIEDIT_FACT_REPLACED;
    summary->unusable += outcome == MOBIEDIT_FACT_UNUSABLE;
}

static mobiedit_status report(const mobiedit_import_options *options, const mobiedit_import_fact *done,
                              mobiedit_import_summary *summary, mobiedit_error *err) {
    count(summary, done->outcome);
    if (options->on_fact && !options->on_fact(options->user, done))
        return me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
    return MOBIEDIT_OK;
}

/* later: another fact of the file that gives the prompt another target, and stands instead; or NULL. */
static mobiedit_status try_fact(const importing *i, const me_texts *also, const me_fact *later,
                                mobiedit_import_fact *done, mobiedit_error *why) {
    if (later) {
        done->outcome = MOBIEDIT_FACT_REPLACED;
        (void)me_fail(why, MOBIEDIT_OK, "the file gives it the target \"%.100s\" later", later->target);
        done->message = why->message;
        return MOBIEDIT_OK;
    }
    const mobiedit_request request = {.prompt = done->prompt,
                                      .target = done->target,
                                      .also = (const char *const *)also->items,
                                      .n_also = also->n};
    const mobiedit_status status = edit_fact(i, &request, done, why);
    if (!me_is_failed_fact(status)) return status;
    done->outcome = MOBIEDIT_FACT_FAILED;
    done->message = why->message;
    return MOBIEDIT_OK;
}

static const me_fact *find_later(const importing *i, size_t n) {
    const me_fact *last = &i->facts->facts[i->last[n]];
    return strcmp(last->target, i->facts->facts[n].target) == 0 ? NULL : last;
}

/* Fact n of the file, fact `index` of `total` that are asked for. */
static mobiedit_status import_fact(importing *i, size_t n, int index, int total, mobiedit_error *err) {
    mobiedit_error why = {0};
    const me_fact *fact = &i->facts->facts[n];
    char *prompt = me_fact_request_prompt(fact);
    if (!prompt) return me_fail_memory(err, "a prompt");
    mobiedit_import_fact done = {
        .index = index, .total = total, .prompt = prompt, .target = fact->target, .asides.chat = -1};
    const double started = me_wall_seconds();
    mobiedit_status status = try_fact(i, &fact->also, find_later(i, n), &done, &why);
    done.seconds = me_wall_seconds() - started;
    if (status == MOBIEDIT_OK)
        status = report(i->options, &done, &i->summary, err);
    else
        status = me_fail(err, status, "%s", why.message);
    me_free((void *)done.known_as);
    me_asides_free(&done.asides);
    me_free(prompt);
    return status;
}

static mobiedit_status report_unusable(importing *i, mobiedit_error *err) {
    for (size_t n = 0; n < i->facts->unusable.n; n++) {
        const mobiedit_import_fact done = {.index = -1,
                                           .outcome = MOBIEDIT_FACT_UNUSABLE,
                                           .message = i->facts->unusable.items[n],
                                           .asides.chat = -1};
        ME_TRY(report(i->options, &done, &i->summary, err));
    }
    return MOBIEDIT_OK;
}

/* Facts [skip, skip + n). */
static mobiedit_status import_facts(importing *i, mobiedit_error *err) {
    const mobiedit_import_options *o = i->options;
    if (o->n < 0 || o->skip < 0 || (size_t)o->skip >= i->facts->n)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "cannot skip %d facts: the file has %zu", o->skip,
                       i->facts->n);
    const int left = (int)i->facts->n - o->skip;
    const int total = o->n > 0 && o->n < left ? o->n : left;
    int at_answer;
    ME_TRY(me_active_at_answer(i->ledger, NULL, &at_answer, err));
    i->at_answer = me_edits_at_answer(&o->edit, at_answer + total);
    ME_TRY(me_last_of_prompt(i->facts, &i->last, err));
    ME_TRY(report_unusable(i, err));
    for (int n = 0; n < total; n++)
        ME_TRY(import_fact(i, (size_t)o->skip + (size_t)n, n, total, err));
    const mobiedit_verify_options verify = {.repair = true, .edit = o->edit};
    return mobiedit_ledger_verify(i->ledger, &verify, &i->summary.all, err);
}

mobiedit_status mobiedit_ledger_import(mobiedit_ledger *ledger, const char *facts,
                                       const mobiedit_import_options *options,
                                       mobiedit_import_summary *summary, mobiedit_error *err) {
    const mobiedit_import_options defaults = {0};
    if (!options) options = &defaults;
    me_dataset dataset;
    ME_TRY(me_check_text(facts, "the path of the facts", err));
    ME_TRY(me_check_edit_options(ledger->model, &options->edit, err));
    ME_TRY(me_dataset_read(facts, &dataset, err));
    importing i = {.ledger = ledger, .options = options, .facts = &dataset};
    const mobiedit_status status = import_facts(&i, err);
    me_free(i.last);
    me_dataset_free(&dataset);
    if (status == MOBIEDIT_OK) *summary = i.summary;
    return me_outcome(status, err);
}
