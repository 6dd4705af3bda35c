/* What can be refused before any work is done. */
#include "api/handle.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/pending.h"
#include "base/utf8.h"
#include "base/words.h"
#include "edit/question.h"
#include "edit/solver.h"
#include "model/sites.h"
#include "store/calibration_file.h"
#include "store/ledger.h"

#include <string.h>

static const float MAX_PROBE_STEP = 10;
static const double MAX_IDLE_WATTS = 1000;

mobiedit_status me_check_text(const char *text, const char *what, mobiedit_error *err) {
    if (!text || !*text) return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s is empty", what);
    if (!me_utf8_valid(text)) return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s is not UTF-8", what);
    return MOBIEDIT_OK;
}

mobiedit_status me_request_read(const mobiedit_request *request, me_prompt *out, mobiedit_error *err) {
    ME_TRY(me_check_text(request->prompt, "the prompt", err));
    ME_TRY(me_check_text(request->target, "the target", err));
    for (size_t i = 0; i < request->n_also; i++)
        ME_TRY(me_check_text(request->also[i], "another wording", err));
    return me_prompt_parse(request, out, err);
}

mobiedit_status me_request_ask(mobiedit_model *handle, me_prompt *prompt, mobiedit_error *err) {
    const me_vocab *vocab;
    if (!me_prompt_asks(prompt)) return MOBIEDIT_OK;
    ME_TRY(me_check_meaning(prompt, err));
    ME_TRY(me_handle_vocab(handle, &vocab, err));
    return me_prompt_ask(vocab, prompt, err);
}

mobiedit_status me_request_open(mobiedit_model *handle, const mobiedit_request *request, me_prompt *out,
                                mobiedit_error *err) {
    ME_TRY(me_request_read(request, out, err));
    const mobiedit_status status = me_request_ask(handle, out, err);
    if (status != MOBIEDIT_OK) me_prompt_free(out);
    return status;
}

/* ---- what an edit cannot mean ------------------------------------------------------------------------ */

static bool is_blank(const char *text, size_t begin, size_t end) {
    while (begin < end && me_is_space(text[begin]))
        begin++;
    return begin == end;
}

/* Whether the prompt says the target already. */
static bool ends_in_target(const me_prompt *p) {
    size_t end = strlen(p->text);
    while (end > 0 && me_is_space(p->text[end - 1]))
        end--;
    const char *target = p->target;
    while (me_is_space(*target))
        target++;
    const size_t n = strlen(target);
    size_t begin, last;
    return n > 0 && n <= end && memcmp(p->text + end - n, target, n) == 0 &&
           me_find_same_words(p->text, end - n, target, &begin, &last) && begin == end - n;
}

/* Whether the subject stands elsewhere in the prompt too, as a word of its own. */
static mobiedit_status names_subject_again(const me_prompt *p, bool *again, mobiedit_error *err) {
    char *subject = me_strndup(p->text + p->subject_begin, p->subject_end - p->subject_begin);
    if (!subject) return me_fail_memory(err, "the subject");
    size_t begin, end = 0;
    *again = false;
    while (!*again && me_find_same_words(p->text, end, subject, &begin, &end))
        *again = end <= p->subject_begin || begin >= p->subject_end;
    me_free(subject);
    return MOBIEDIT_OK;
}

mobiedit_status me_check_meaning(const me_prompt *p, mobiedit_error *err) {
    const int n = (int)(p->subject_end - p->subject_begin);
    const char *subject = p->text + p->subject_begin;
    bool again = false;
    if (is_blank(p->text, 0, p->subject_begin) && is_blank(p->text, p->subject_end, strlen(p->text)))
        return me_fail(
            err, MOBIEDIT_E_ARGUMENT,
            "the prompt is nothing but its subject: write the beginning of a sentence about it, as "
            "in \"The capital of {%.*s} is\"",
            n < 100 ? n : 100, subject);
    if (ends_in_target(p))
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the prompt already ends in the target \"%.100s\": stop before it", p->target);
    if (!p->question) ME_TRY(names_subject_again(p, &again, err));
    if (again)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the subject \"%.*s\" occurs in the prompt twice, and only one place can be edited: "
                       "name it once",
                       n < 100 ? n : 100, subject);
    return MOBIEDIT_OK;
}

bool me_is_failed_fact(mobiedit_status status) {
    return status == MOBIEDIT_E_NOT_SOLVED || status == MOBIEDIT_E_NOT_VERIFIED ||
           status == MOBIEDIT_E_ARGUMENT || status == MOBIEDIT_E_UNSUPPORTED || status == MOBIEDIT_E_MEMORY;
}

/* ---- options ------------------------------------------------------------------------------------------- */

mobiedit_status me_check_layer(const mobiedit_model *handle, bool fix, int layer, mobiedit_error *err) {
    const int n_layer = handle->model->n_layer;
    if (!fix && layer != 0)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "layer %d is named, but fix_layer is not set", layer);
    if (layer < 0 || layer >= n_layer)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no layer %d: the model has layers 0 to %d", layer,
                       n_layer - 1);
    if (fix && layer == n_layer - 1)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "layer %d cannot be edited: it is the last, and layers 0 to %d can be", layer,
                       n_layer - 2);
    if (fix && !me_site_is_there(handle->model, layer))
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "layer %d cannot be edited: it has no MLP of %d neurons that an edit fits", layer,
                       handle->model->d_ff);
    return MOBIEDIT_OK;
}

static bool is_place(const char *place) {
    return !place || strcmp(place, "auto") == 0 || strcmp(place, "answer") == 0 ||
           strcmp(place, "subject") == 0;
}

mobiedit_status me_check_edit_options(const mobiedit_model *handle, const mobiedit_edit_options *options,
                                      mobiedit_error *err) {
    const struct mobiedit_edit_advanced *advanced = me_edit_advanced(options);
    if (options->solver && !me_solver_find(options->solver))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no solver named \"%.60s\"", options->solver);
    ME_TRY(me_check_layer(handle, options->fix_layer, options->layer, err));
    if (!is_place(options->place))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "an edit's place is auto, answer or subject, not \"%.60s\"",
                       options->place);
    if (options->place && strcmp(options->place, "answer") == 0 && !me_solver_of(options)->rewords)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the solver %s edits at the subject only",
                       me_solver_of(options)->name);
    if (!(advanced->probe_step >= 0 && advanced->probe_step <= MAX_PROBE_STEP))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the probe step must be from 0 to %g lengths of the value",
                       (double)MAX_PROBE_STEP);
    if (advanced->without &
        ~(unsigned)(MOBIEDIT_WITHOUT_CONTRAST | MOBIEDIT_WITHOUT_BASIS | MOBIEDIT_WITHOUT_STOP))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no part %#x to leave out", advanced->without);
    if (!(advanced->idle_watts >= 0 && advanced->idle_watts <= MAX_IDLE_WATTS))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "no idle machine draws %g W", advanced->idle_watts);
    if (options->max_after_tokens < 0)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "max_after_tokens is negative");
    return MOBIEDIT_OK;
}

/* ---- places of files --------------------------------------------------------------------------------- */

static mobiedit_status refuse_place(const char *path, const char *what, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "the file %s is %s", path, what);
}

static mobiedit_status check_not(const char *path, const char *file, const char *what, mobiedit_error *err) {
    if (!file) return me_fail_memory(err, "the names of files");
    return me_same_file(path, file) ? refuse_place(path, what, err) : MOBIEDIT_OK;
}

/* Neither the ledger nor what SQLite keeps beside it. */
static mobiedit_status check_not_ledger(const char *path, const char *ledger, mobiedit_error *err) {
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal"};
    mobiedit_status status = ledger ? MOBIEDIT_OK : me_fail_memory(err, "the names of files");
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0] && status == MOBIEDIT_OK; i++) {
        char *part = me_strjoin(ledger, suffixes[i]);
        status = check_not(path, part, "the ledger's", err);
        me_free(part);
    }
    return status;
}

mobiedit_status me_check_place(const mobiedit_model *handle, me_place place, const char *path,
                               mobiedit_error *err) {
    mobiedit_status status = MOBIEDIT_OK;
    if (me_model_has_file(handle->model, path)) status = refuse_place(path, "the model file itself", err);
    if (status == MOBIEDIT_OK && place != ME_PLACE_LEDGER) {
        char *ledger = me_ledger_default_path(handle->model);
        status = check_not_ledger(path, ledger, err);
        me_free(ledger);
    }
    if (status == MOBIEDIT_OK && place != ME_PLACE_CALIBRATION) {
        char *calibration = me_calibration_file_default_path(handle->model);
        status = check_not(path, calibration, "the model's calibration", err);
        me_free(calibration);
    }
    if (status == MOBIEDIT_OK && place != ME_PLACE_CALIBRATION && handle->calibration_path &&
        strcmp(handle->calibration_path, "none") != 0)
        status = check_not(path, handle->calibration_path, "the calibration that is used", err);
    return status;
}

mobiedit_status me_check_folder(const char *path, mobiedit_error *err) {
    me_pending_file trial; /* the only sure way to know that a folder takes files is to make one there */
    ME_TRY(me_pending_write(path, "", 0, &trial, err));
    me_pending_discard(&trial);
    return MOBIEDIT_OK;
}

mobiedit_status me_check_output(const mobiedit_model *handle, const char *ledger, const char *path,
                                mobiedit_error *err) {
    if (!path || !*path) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the output path is empty");
    ME_TRY(me_check_place(handle, ME_PLACE_OUTPUT, path, err));
    if (ledger) ME_TRY(check_not_ledger(path, ledger, err));
    return me_check_folder(path, err);
}
