/* mobiedit_merge: an adapter folded into a copy of the model, verified before it appears. */
#include "store/merge.h"
#include "api/handle.h"
#include "base/memory.h"
#include "base/usage.h"
#include "edit/samples.h"
#include "eval/metrics.h"

#include <math.h>
#include <string.h>

typedef struct {
    mobiedit_model *handle;
    const mobiedit_merge_options *options;
    const char *output;
    me_adapter_data adapter;
    me_prompt *facts; /* [n_facts] */
    size_t n_facts;
    bool *held;        /* [n_facts]: with the adapter attached */
    me_folded *folded; /* [adapter.n_layers] */
    me_pending_file pending;
    double started; /* wall clock, seconds */
    mobiedit_merge_result *result;
} merge_job;

static mobiedit_status tell(const merge_job *job, mobiedit_stage stage, mobiedit_error *err) {
    const mobiedit_progress now = {
        .stage = stage, .layer = -1, .loss = NAN, .seconds = me_wall_seconds() - job->started};
    const mobiedit_merge_options *o = job->options;
    return !o->on_progress || o->on_progress(o->user, &now) ? MOBIEDIT_OK
                                                            : me_fail(err, MOBIEDIT_E_CANCELLED, "cancelled");
}

/* ---- facts ------------------------------------------------------------------------------------------- */

static mobiedit_status take_options_facts(merge_job *job, mobiedit_error *err) {
    const mobiedit_merge_options *o = job->options;
    for (size_t i = 0; i < o->n_facts; i++) {
        ME_TRY(me_check_text(o->facts[i].prompt, "a fact's prompt", err));
        ME_TRY(me_check_text(o->facts[i].target, "a fact's target", err));
        ME_TRY(me_prompt_parse(&o->facts[i], &job->facts[job->n_facts], err));
        job->n_facts++;
    }
    return MOBIEDIT_OK;
}

/* "The capital of {Japan} is -> Lima", one a line, as our adapters describe themselves. Other lines are
 * someone's own words. The text is cut up. */
static void take_described_facts(merge_job *job, char *text) {
    static const char arrow[] = " -> ";
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        char *target = NULL;
        for (char *at = line; (at = strstr(at, arrow)); at++)
            target = at;
        if (!target) continue;
        *target = '\0';
        const mobiedit_request request = {.prompt = line, .target = target + strlen(arrow)};
        if (me_check_text(line, "", NULL) != MOBIEDIT_OK ||
            me_check_text(request.target, "", NULL) != MOBIEDIT_OK)
            continue;
        if (me_prompt_parse(&request, &job->facts[job->n_facts], NULL) == MOBIEDIT_OK) job->n_facts++;
    }
}

static size_t count_lines(const char *text) {
    size_t n = 1;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static mobiedit_status find_facts(merge_job *job, const char *adapter, mobiedit_error *err) {
    const char *described = job->adapter.description ? job->adapter.description : "";
    const size_t most = job->options->n_facts ? job->options->n_facts : count_lines(described);
    job->facts = me_calloc(most, sizeof *job->facts);
    job->held = me_calloc(most, sizeof *job->held);
    char *text = me_strdup(described);
    mobiedit_status status = job->facts && job->held && text ? MOBIEDIT_OK : me_fail_memory(err, "the facts");
    if (status == MOBIEDIT_OK && job->options->n_facts)
        status = take_options_facts(job, err);
    else if (status == MOBIEDIT_OK)
        take_described_facts(job, text);
    me_free(text);
    if (status == MOBIEDIT_OK && job->n_facts == 0)
        status = me_fail(err, MOBIEDIT_E_ARGUMENT,
                         "%s does not tell which facts it is for, so name those that are to hold", adapter);
    return status;
}

/* Which facts the unmerged model says with the adapter attached: those are to hold. */
static mobiedit_status ask_with_adapter(merge_job *job, const char *adapter, mobiedit_error *err) {
    me_runtime *runtime;
    ME_TRY(me_handle_runtime(job->handle, &runtime, err));
    ME_TRY(me_runtime_set_adapter(runtime, adapter, err));
    for (size_t i = 0; i < job->n_facts; i++) {
        ME_TRY(me_says(runtime, job->facts[i].text, job->facts[i].target, &job->held[i], err));
        job->result->held += job->held[i];
    }
    job->result->facts = job->n_facts;
    if (job->result->held == 0)
        return me_fail(err, MOBIEDIT_E_NOT_VERIFIED,
                       "libllama with %s does not say \"%.100s\"; nothing was written", adapter,
                       job->facts[0].target);
    return MOBIEDIT_OK;
}

/* ---- the matrices ------------------------------------------------------------------------------------ */

static void drop_folded(merge_job *job) {
    for (int i = 0; i < job->adapter.n_layers; i++) {
        me_free(job->folded[i].data);
        job->folded[i] = (me_folded){0};
    }
}

static mobiedit_status fold_layer(merge_job *job, const me_adapter_layer *edit, enum ggml_type type,
                                  me_folded *out, mobiedit_error *err) {
    mobiedit_model *handle = job->handle;
    me_session *session;
    float *columns = NULL;
    me_key_samples samples = {0};
    ME_TRY(me_handle_session(handle, &session, err));
    ME_TRY(me_samples_collect(session, edit->layer, job->facts, job->n_facts, &columns, &samples.n, err));
    samples.columns = columns;
    const mobiedit_status status = me_fold(handle->model, edit, type, &samples, handle->pool, out, err);
    me_free(columns);
    return status;
}

/* Every adapted matrix in its own type, or in F16. */
static mobiedit_status fold_all(merge_job *job, bool as_float, mobiedit_error *err) {
    drop_folded(job);
    job->result->error = 0;
    for (int i = 0; i < job->adapter.n_layers; i++) {
        const me_adapter_layer *edit = &job->adapter.layers[i];
        const enum ggml_type own = job->handle->model->layers[edit->layer].down.type;
        const enum ggml_type type = as_float && ggml_is_quantized(own) ? GGML_TYPE_F16 : own;
        ME_TRY(tell(job, MOBIEDIT_STAGE_SOLVE, err));
        ME_TRY(fold_layer(job, edit, type, &job->folded[i], err));
        job->result->type = ggml_type_name(type);
        job->result->error = fmax(job->result->error, job->folded[i].error);
    }
    return MOBIEDIT_OK;
}

/* ---- verification ------------------------------------------------------------------------------------ */

static mobiedit_status ask_merged(merge_job *job, me_runtime *runtime, mobiedit_error *err) {
    const me_prompt *lost = NULL;
    job->result->kept = 0;
    for (size_t i = 0; i < job->n_facts; i++) {
        bool says;
        ME_TRY(me_says(runtime, job->facts[i].text, job->facts[i].target, &says, err));
        job->result->kept += says && job->held[i];
        if (job->held[i] && !says && !lost) lost = &job->facts[i];
    }
    if (!lost) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_NOT_VERIFIED,
                   "the merged model does not say \"%.100s\" after \"%.100s\"; nothing was written",
                   lost->target, lost->text);
}

/* libllama loads the file as it will stand, and says what it says with the adapter. */
static mobiedit_status verify(merge_job *job, mobiedit_error *err) {
    const me_runtime_options options = {.threads = job->handle->options.threads};
    me_runtime *runtime = NULL;
    ME_TRY(tell(job, MOBIEDIT_STAGE_VERIFY, err));
    me_model_release_pages(job->handle->model);
    ME_TRY(me_runtime_open(job->pending.temporary, &options, &runtime, err));
    const mobiedit_status status = ask_merged(job, runtime, err);
    me_runtime_close(runtime);
    ME_TRY(status);
    return tell(job, MOBIEDIT_STAGE_VERIFY, err);
}

static mobiedit_status attempt(merge_job *job, bool as_float, mobiedit_error *err) {
    const char *note = job->adapter.description ? job->adapter.description : "an adapter without description";
    ME_TRY(fold_all(job, as_float, err));
    ME_TRY(me_merge_write(job->handle->model, job->folded, job->adapter.n_layers, note, job->output,
                          &job->pending, err));
    const mobiedit_status status = verify(job, err);
    if (status != MOBIEDIT_OK) me_pending_discard(&job->pending);
    return status;
}

static bool any_quantized(const merge_job *job) {
    for (int i = 0; i < job->adapter.n_layers; i++)
        if (ggml_is_quantized(job->handle->model->layers[job->adapter.layers[i].layer].down.type))
            return true;
    return false;
}

static mobiedit_status run(merge_job *job, const char *adapter, mobiedit_error *err) {
    ME_TRY(tell(job, MOBIEDIT_STAGE_PREPARE, err));
    ME_TRY(me_adapter_read(job->handle->model, adapter, &job->adapter, err));
    job->folded = me_calloc((size_t)job->adapter.n_layers, sizeof *job->folded);
    if (!job->folded) return me_fail_memory(err, "the merged matrices");
    ME_TRY(find_facts(job, adapter, err));
    ME_TRY(ask_with_adapter(job, adapter, err));
    const bool as_float = job->options->keep_float;
    mobiedit_status status = attempt(job, as_float, err);
    if (status == MOBIEDIT_E_NOT_VERIFIED && !as_float && any_quantized(job))
        status = attempt(job, true, err);
    ME_TRY(status);
    return me_pending_commit(&job->pending, err);
}

static void free_job(merge_job *job) {
    if (job->folded) drop_folded(job);
    me_free(job->folded);
    me_adapter_data_free(&job->adapter);
    for (size_t i = 0; i < job->n_facts; i++)
        me_prompt_free(&job->facts[i]);
    me_free(job->facts);
    me_free(job->held);
}

mobiedit_status mobiedit_merge(mobiedit_model *model, const char *adapter,
                               const mobiedit_merge_options *options, const char *output,
                               mobiedit_merge_result *result, mobiedit_error *err) {
    const mobiedit_merge_options defaults = {0};
    *result = (mobiedit_merge_result){0};
    if (!adapter || !*adapter) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the adapter's path is empty");
    ME_TRY(me_check_output(model->model, output, err));
    merge_job job = {
        .handle = model, .options = options ? options : &defaults, .output = output, .result = result};
    job.started = me_wall_seconds();
    const mobiedit_status status = run(&job, adapter, err);
    result->tensors = job.adapter.n_layers;
    result->seconds = me_wall_seconds() - job.started;
    result->peak_rss_bytes = me_peak_rss_bytes();
    free_job(&job);
    return status;
}
