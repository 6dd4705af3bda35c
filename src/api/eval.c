/* mobiedit_eval: each fact edited by itself, and measured. */
#define _POSIX_C_SOURCE 200809L
#include "api/handle.h"
#include "api/job.h"
#include "base/memory.h"
#include "base/usage.h"
#include "eval/dataset.h"
#include "eval/metrics.h"
#include "eval/summary.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A private folder for the adapter of the case at hand. */
typedef struct {
    char folder[1024];
    char adapter[1040];
} scratch;

static mobiedit_status scratch_open(scratch *s, mobiedit_error *err) {
    const char *root = getenv("TMPDIR");
    if (!root || !*root) root = "/tmp";
    const int n = snprintf(s->folder, sizeof s->folder, "%s/mobiedit-XXXXXX", root);
    if (n < 0 || (size_t)n >= sizeof s->folder)
        return me_fail(err, MOBIEDIT_E_IO, "the path of the folder for temporary files is too long");
    if (!mkdtemp(s->folder))
        return me_fail(err, MOBIEDIT_E_IO, "cannot make a folder in %s: %s", root, strerror(errno));
    (void)snprintf(s->adapter, sizeof s->adapter, "%s/edit.gguf", s->folder);
    return MOBIEDIT_OK;
}

static void scratch_close(const scratch *s) {
    (void)unlink(s->adapter);
    (void)rmdir(s->folder);
}

/* Whether a failed edit is a result of its own, rather than a reason to stop. */
static bool is_outcome(mobiedit_status status) {
    return status == MOBIEDIT_OK || status == MOBIEDIT_E_NOT_SOLVED || status == MOBIEDIT_E_NOT_VERIFIED ||
           status == MOBIEDIT_E_ARGUMENT;
}

/* Edits the fact into the scratch file. The edit's own failure goes into `done` and `why`. */
static mobiedit_status edit_fact(mobiedit_model *model, const me_fact *fact,
                                 const mobiedit_edit_options *options, const char *adapter,
                                 mobiedit_eval_case *done, mobiedit_error *why, mobiedit_error *err) {
    char *prompt = me_fact_request_prompt(fact);
    if (!prompt) return me_fail_memory(err, "a prompt");
    const mobiedit_request request = {.prompt = prompt, .target = fact->target};
    const me_job ask = {.request = &request, .options = options, .output = adapter};
    mobiedit_edit_result result = {.joules = NAN};
    done->status = me_job_run(model, &ask, &result, why);
    done->message = done->status == MOBIEDIT_OK ? NULL : why->message;
    done->evaluations = result.evaluations;
    done->seconds = result.seconds;
    done->layer = result.layer;
    done->stop = result.stop;
    mobiedit_edit_result_free(&result);
    me_free(prompt);
    return is_outcome(done->status) ? MOBIEDIT_OK : me_fail(err, done->status, "%s", why->message);
}

static mobiedit_status measure(mobiedit_model *model, const me_fact *fact, const char *adapter,
                               mobiedit_eval_case *done, mobiedit_error *err) {
    const bool edited = done->status == MOBIEDIT_OK && done->stop != MOBIEDIT_STOP_ALREADY_SAID;
    me_runtime *runtime;
    me_metrics metrics = {0};
    ME_TRY(me_handle_runtime(model, &runtime, err));
    ME_TRY(me_metrics_measure(runtime, fact, edited ? adapter : NULL, &metrics, err));
    done->rewrite = metrics.rewrite;
    done->paraphrase = metrics.paraphrase;
    done->unchanged = metrics.unchanged;
    done->neighbour_kl = metrics.neighbour_kl;
    return MOBIEDIT_OK;
}

/* Cases [skip, skip + n) of the data set. */
static mobiedit_status run_cases(mobiedit_model *model, const me_dataset *facts,
                                 const mobiedit_eval_options *options, const scratch *s, me_tally *tally,
                                 mobiedit_error *err) {
    const int left = (int)facts->n - options->skip;
    const int total = options->n > 0 && options->n < left ? options->n : left;
    for (int i = 0; i < total; i++) {
        const me_fact *fact = &facts->facts[options->skip + i];
        mobiedit_error why = {0};
        mobiedit_eval_case done = {.case_id = fact->case_id,
                                   .prompt = fact->prompt,
                                   .subject = fact->subject,
                                   .relation = fact->relation,
                                   .target = fact->target};
        ME_TRY(edit_fact(model, fact, &options->edit, s->adapter, &done, &why, err));
        ME_TRY(measure(model, fact, s->adapter, &done, err));
        ME_TRY(me_tally_add(tally, &done, err));
        if (options->on_case && !options->on_case(options->user, i, total, &done))
            return me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
    }
    return MOBIEDIT_OK;
}

static mobiedit_status evaluate(mobiedit_model *model, const me_dataset *facts,
                                const mobiedit_eval_options *options, mobiedit_eval_summary *summary,
                                mobiedit_error *err) {
    if (options->n < 0 || options->skip < 0 || (size_t)options->skip >= facts->n)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "cases %d and on are asked for, the file has %zu",
                       options->skip, facts->n);
    scratch s;
    ME_TRY(scratch_open(&s, err));
    me_tally tally = {0};
    const mobiedit_status status = run_cases(model, facts, options, &s, &tally, err);
    scratch_close(&s);
    if (status == MOBIEDIT_OK) {
        summary->solver = options->edit.solver ? options->edit.solver : mobiedit_solvers()[0];
        me_tally_summary(&tally, summary);
        summary->peak_rss_bytes = me_peak_rss_bytes();
    }
    me_tally_free(&tally);
    return status;
}

mobiedit_status mobiedit_eval(mobiedit_model *model, const char *facts, const mobiedit_eval_options *options,
                              mobiedit_eval_summary *summary, mobiedit_error *err) {
    const mobiedit_eval_options defaults = {.edit = {.layer = -1}};
    if (!options) options = &defaults;
    me_dataset dataset;
    ME_TRY(me_check_text(facts, "the path of the facts", err));
    ME_TRY(me_check_edit_options(model, &options->edit, err));
    ME_TRY(me_dataset_read(facts, &dataset, err));
    const mobiedit_status status = evaluate(model, &dataset, options, summary, err);
    me_dataset_free(&dataset);
    return status;
}
