/* mobiedit_merge: an adapter folded into a copy of the model, verified before it appears. */
#include "api/asides.h"
#include "api/handle.h"
#include "api/samples.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/usage.h"
#include "store/model_copy.h"
#include "store/modelfile.h"

#include <math.h>
#include <string.h>

/* What a matrix in its own type may lose of the edit where the samples meet it: four bits hold most edits to
 * a percent, but a value that is large beside those that share its block's scale leaves these none. */
static const double MOST_ERROR = 0.1;

typedef struct {
    mobiedit_model *handle;
    const mobiedit_merge_options *options;
    const char *output;
    me_adapter_data adapter;
    me_prompt *facts; /* [n_facts] */
    size_t n_facts;
    bool *held;        /* [n_facts]: with the adapter attached */
    me_folded *folded; /* [adapter.n_parts] */
    me_pending_file pending, modelfile;
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
        ME_TRY(me_request_open(job->handle, &o->facts[i], &job->facts[job->n_facts], err));
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
        if (me_request_open(job->handle, &request, &job->facts[job->n_facts], NULL) == MOBIEDIT_OK)
            job->n_facts++;
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
        status =
            me_fail(err, MOBIEDIT_E_ARGUMENT,
                    "%s does not say which facts it is for: name them (--check), write it with a description "
                    "(--describe), or merge the ledger's edits (no adapter named)",
                    adapter);
    return status;
}

/* Which facts the unmerged model says with the adapter attached: those are to hold. */
static mobiedit_status ask_with_adapter(merge_job *job, const char *adapter, mobiedit_error *err) {
    me_runtime *runtime;
    ME_TRY(me_handle_runtime(job->handle, &runtime, err));
    ME_TRY(me_runtime_set_adapter(runtime, adapter, err));
    for (size_t i = 0; i < job->n_facts; i++) {
        me_said said;
        ME_TRY(me_prompt_said(runtime, &job->facts[i], &said, err));
        job->held[i] = said == ME_SAID_WHOLE;
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
    for (int i = 0; i < job->adapter.n_parts; i++) {
        me_free(job->folded[i].data);
        job->folded[i] = (me_folded){0};
    }
}

/* The adapter's part for a matrix of a layer; NULL: it does not change it. */
static const me_adapter_part *find_part(const merge_job *job, int layer, me_mlp_matrix matrix) {
    for (int i = 0; i < job->adapter.n_parts; i++) {
        const me_adapter_part *part = &job->adapter.parts[i];
        if (part->layer == layer && part->matrix == matrix) return part;
    }
    return NULL;
}

/* In the matrix's own type where the edit and the rest of the matrix survive that, else in F16: where the
 * error is too large, or a scale beyond what the type can hold. */
static mobiedit_status fold_with(const merge_job *job, const me_adapter_part *edit,
                                 const me_key_samples *samples, bool as_float, me_folded *out,
                                 mobiedit_error *err) {
    const me_model *model = job->handle->model;
    me_pool *pool = job->handle->pool;
    const enum ggml_type own = me_mlp_tensor(model, edit->layer, edit->matrix)->type;
    if (model->layers[edit->layer].site == ME_SITE_FUSED)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "gate and up of %s are one tensor, into which no edit is merged: use the adapter",
                       model->path);
    as_float = as_float || model->why_foreign;
    if (!ggml_is_quantized(own)) return me_fold(model, edit, own, samples, pool, out, err);
    if (!as_float) {
        const mobiedit_status status = me_fold(model, edit, own, samples, pool, out, err);
        if (status != MOBIEDIT_OK && status != MOBIEDIT_E_UNSUPPORTED) return status;
        if (status == MOBIEDIT_OK && out->error <= MOST_ERROR) return MOBIEDIT_OK;
        me_free(out->data);
        *out = (me_folded){0};
    }
    return me_fold(model, edit, GGML_TYPE_F16, samples, pool, out, err);
}

static mobiedit_status fold_part(const merge_job *job, const me_adapter_part *edit, bool as_float,
                                 me_folded *out, mobiedit_error *err) {
    const me_sample_place place = {.layer = edit->layer,
                                   .matrix = edit->matrix,
                                   .gate = find_part(job, edit->layer, ME_MLP_GATE),
                                   .up = find_part(job, edit->layer, ME_MLP_UP)};
    me_session *session;
    float *columns = NULL;
    me_key_samples samples = {0};
    /* What the experts' down projections meet is each one's own. */
    const bool experts = job->handle->model->layers[edit->layer].site == ME_SITE_EXPERTS;
    if (experts && edit->matrix == ME_MLP_DOWN) return fold_with(job, edit, &samples, as_float, out, err);
    ME_TRY(me_handle_session(job->handle, &session, err));
    ME_TRY(me_samples_collect(session, &place, job->facts, job->n_facts, &columns, &samples.n, err));
    samples.columns = columns;
    const mobiedit_status status = fold_with(job, edit, &samples, as_float, out, err);
    me_free(columns);
    return status;
}

static bool is_wider(enum ggml_type type, enum ggml_type than) {
    return ggml_type_size(type) * (size_t)ggml_blck_size(than) >
           ggml_type_size(than) * (size_t)ggml_blck_size(type);
}

/* Every adapted matrix; with as_float those of quantised types as F16. */
static mobiedit_status fold_all(merge_job *job, bool as_float, mobiedit_error *err) {
    drop_folded(job);
    job->result->error = 0;
    for (int i = 0; i < job->adapter.n_parts; i++) {
        ME_TRY(tell(job, MOBIEDIT_STAGE_SOLVE, err));
        ME_TRY(fold_part(job, &job->adapter.parts[i], as_float, &job->folded[i], err));
        job->result->error = fmax(job->result->error, job->folded[i].error);
    }
    enum ggml_type widest = job->folded[0].type;
    for (int i = 1; i < job->adapter.n_parts; i++)
        if (is_wider(job->folded[i].type, widest)) widest = job->folded[i].type;
    job->result->type = ggml_type_name(widest);
    return MOBIEDIT_OK;
}

/* ---- verification ------------------------------------------------------------------------------------ */

static mobiedit_status ask_merged(merge_job *job, me_runtime *runtime, mobiedit_error *err) {
    const me_prompt *lost = NULL;
    job->result->kept = 0;
    for (size_t i = 0; i < job->n_facts; i++) {
        me_said said;
        ME_TRY(me_prompt_said(runtime, &job->facts[i], &said, err));
        const bool says = said == ME_SAID_WHOLE;
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
    const bool described = job->handle->options.describe && job->adapter.description;
    const char *note = described ? job->adapter.description : "an adapter without description";
    ME_TRY(fold_all(job, as_float, err));
    ME_TRY(me_model_copy_write(job->handle->model, job->folded, job->adapter.n_parts, note, job->output,
                               &job->pending, err));
    const mobiedit_status status = verify(job, err);
    if (status != MOBIEDIT_OK) me_pending_discard(&job->pending);
    return status;
}

/* Whether the last attempt left matrices in few bits. */
static bool any_quantized(const merge_job *job) {
    for (int i = 0; i < job->adapter.n_parts; i++)
        if (ggml_is_quantized(job->folded[i].type)) return true;
    return false;
}

static mobiedit_status write_modelfile(merge_job *job, mobiedit_error *err) {
    const char *path = job->options->modelfile;
    const me_vocab *vocab;
    char *text = NULL;
    if (!path) return MOBIEDIT_OK;
    ME_TRY(me_handle_vocab(job->handle, &vocab, err));
    ME_TRY(me_modelfile_text(vocab, job->output, path, &text, err));
    const mobiedit_status status = me_pending_write(path, text, strlen(text), &job->modelfile, err);
    me_free(text);
    return status;
}

static mobiedit_status commit(merge_job *job, mobiedit_error *err) {
    ME_TRY(me_pending_commit(&job->pending, err));
    return job->options->modelfile ? me_pending_commit(&job->modelfile, err) : MOBIEDIT_OK;
}

static mobiedit_status run(merge_job *job, const char *adapter, mobiedit_error *err) {
    ME_TRY(tell(job, MOBIEDIT_STAGE_PREPARE, err));
    ME_TRY(me_adapter_read(job->handle->model, adapter, &job->adapter, err));
    job->folded = me_calloc((size_t)job->adapter.n_parts, sizeof *job->folded);
    if (!job->folded) return me_fail_memory(err, "the merged matrices");
    ME_TRY(find_facts(job, adapter, err));
    ME_TRY(write_modelfile(job, err));
    ME_TRY(ask_with_adapter(job, adapter, err));
    mobiedit_status status = attempt(job, job->options->keep_float, err);
    if (status == MOBIEDIT_E_NOT_VERIFIED && any_quantized(job)) status = attempt(job, true, err);
    ME_TRY(status);
    return commit(job, err);
}

static void free_job(merge_job *job) {
    if (job->folded) drop_folded(job);
    me_pending_discard(&job->modelfile);
    me_free(job->folded);
    me_adapter_data_free(&job->adapter);
    for (size_t i = 0; i < job->n_facts; i++)
        me_prompt_free(&job->facts[i]);
    me_free(job->facts);
    me_free(job->held);
}

static mobiedit_status check_modelfile(const mobiedit_model *model, const char *adapter,
                                       const char *modelfile, const char *output, mobiedit_error *err) {
    ME_TRY(me_check_output(model, NULL, modelfile, err));
    if (me_same_file(modelfile, adapter) || me_same_file(modelfile, output))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the Modelfile %s is the adapter or the output", modelfile);
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_merge(mobiedit_model *model, const char *adapter,
                               const mobiedit_merge_options *options, const char *output,
                               mobiedit_merge_result *result, mobiedit_error *err) {
    const mobiedit_merge_options defaults = {0};
    *result = (mobiedit_merge_result){0};
    if (!adapter || !*adapter) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the adapter's path is empty");
    ME_TRY(me_check_output(model, NULL, output, err));
    if (me_same_file(output, adapter))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the output %s is the adapter", output);
    if (options && options->modelfile)
        ME_TRY(check_modelfile(model, adapter, options->modelfile, output, err));
    merge_job job = {
        .handle = model, .options = options ? options : &defaults, .output = output, .result = result};
    job.started = me_wall_seconds();
    const mobiedit_status status = run(&job, adapter, err);
    result->tensors = job.adapter.n_parts;
    result->seconds = me_wall_seconds() - job.started;
    result->peak_rss_bytes = me_peak_rss_bytes();
    free_job(&job);
    return me_outcome(status, err);
}
