/* profile_accuracy MODEL.gguf TEXT.txt LAYER PROMPT TARGET
 *
 * How much of what a solver measures is left under each arithmetic, as JSON on stdout. PROMPT has its subject
 * in braces. For bench/profiles.py.
 *
 *   text      what the arithmetic does to the model: KL(native || profile) of the next token over the text's
 *             first tokens, and how often the greedy one is the same
 *   response  for steps of h |v| along the probe solver's basis: mean cosine between the change of the final
 *             hidden vectors so measured and the one that the native engine's `responses` tells at 0.1 |v|
 *   slope     for central differences of the loss along random directions, as spsa takes them, in steps of
 *             length h |v|: correlation over the directions with the slopes that follow from `responses` */
#include "base/file.h"
#include "base/logits.h"
#include "base/memory.h"
#include "base/random.h"
#include "edit/basis.h"
#include "edit/carriers.h"
#include "edit/problem.h"
#include "edit/texts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROBES = 32, DIRECTIONS = 64, TOKENS = 200, MAX_TEXT = 1 << 16, BATCH = 16 };
static const float STEPS[] = {1e-3F, 3e-3F, 1e-2F, 3e-2F, 0.1F, 0.3F, 0.5F}, REFERENCE_STEP = 0.1F;
enum { N_STEPS = sizeof STEPS / sizeof STEPS[0] };

typedef struct {
    const char *name;
    int activation_bits;
    bool trick; /* the native engine's operation for differences, where there is one */
} arithmetic;

static const arithmetic ARITHMETICS[] = {{"native", 0, true},
                                         {"native, two passes", 0, false},
                                         {"w8a16-static", 16, true},
                                         {"w8a8-static", 8, true}};
enum { N_ARITHMETICS = sizeof ARITHMETICS / sizeof ARITHMETICS[0] };

typedef struct {
    me_model *model;
    me_vocab *vocab;
    me_pool *pool;
    me_sequences calibration, carriers;
    me_tokens text;
    int layer;
    size_t d;
    me_basis basis;    /* PROBES directions */
    float *directions; /* [DIRECTIONS][d], of length 1 */
    float *expected;   /* [PROBES][n_target][d]: responses to REFERENCE_STEP |v| */
    double *slopes;    /* [DIRECTIONS] */
    float *logits;     /* [TOKENS][n_vocab] of the text */
} world;

static void *allocated(size_t n, size_t size) {
    void *p = me_calloc(n, size);
    if (p) return p;
    (void)fprintf(stderr, "profile_accuracy: out of memory\n");
    exit(1);
}

/* ---- the world --------------------------------------------------------------------------------------- */

static mobiedit_status read_text(world *w, const char *path, mobiedit_error *err) {
    char *text = NULL;
    size_t length;
    ME_TRY(me_read_file(path, MAX_TEXT, &text, &length, err));
    const mobiedit_status status = me_tokenize(w->vocab, text, &w->text, err);
    me_free(text);
    ME_TRY(status);
    return w->text.n >= TOKENS ? MOBIEDIT_OK : me_fail(err, MOBIEDIT_E_ARGUMENT, "%s is too short", path);
}

static mobiedit_status make_carriers(world *w, const char *prompt, const char *target, mobiedit_error *err) {
    const mobiedit_request request = {.prompt = prompt, .target = target};
    me_prompt parsed;
    size_t core;
    ME_TRY(me_prompt_parse(&request, &parsed, err));
    ME_TRY(me_subject_core(w->vocab, &parsed, &core, err));
    const me_carrier_options options = {.n_prefixed = 3};
    ME_TRY(me_carriers_make(w->vocab, &parsed, core, &options, &w->carriers, err));
    me_prompt_free(&parsed);
    return MOBIEDIT_OK;
}

static void make_directions(world *w) {
    me_random random;
    me_random_seed(&random, 0);
    w->directions = allocated(DIRECTIONS * w->d, sizeof(float));
    me_random_normals(&random, w->directions, DIRECTIONS * w->d);
    for (size_t i = 0; i < DIRECTIONS; i++) {
        double sum = 0;
        float *u = w->directions + i * w->d;
        for (size_t j = 0; j < w->d; j++)
            sum += (double)u[j] * u[j];
        for (size_t j = 0; j < w->d; j++)
            u[j] /= (float)sqrt(sum);
    }
}

static mobiedit_status open_world(world *w, char **arguments, mobiedit_error *err) {
    ME_TRY(me_model_open(arguments[1], &w->model, err));
    ME_TRY(me_vocab_open(arguments[1], &w->vocab, err));
    ME_TRY(me_pool_open(0, &w->pool, err));
    w->layer = atoi(arguments[3]);
    w->d = (size_t)w->model->d_model;
    ME_TRY(read_text(w, arguments[2], err));
    ME_TRY(make_carriers(w, arguments[4], arguments[5], err));
    ME_TRY(me_sequences_add_texts(&w->calibration, w->vocab, me_texts_background,
                                  me_texts_count(me_texts_background), err));
    make_directions(w);
    const size_t width = w->d * (size_t)w->carriers.items->n_read;
    w->expected = allocated(PROBES * width, sizeof(float));
    w->slopes = allocated(DIRECTIONS, sizeof(double));
    w->logits = allocated(TOKENS * (size_t)w->model->n_vocab, sizeof(float));
    return MOBIEDIT_OK;
}

/* ---- what is measured -------------------------------------------------------------------------------- */

/* [n][d]: the directions, `length` long */
static float *stretched(const world *w, const float *directions, size_t n, float length) {
    float *out = allocated(n * w->d, sizeof *out);
    for (size_t i = 0; i < n * w->d; i++)
        out[i] = length * directions[i];
    return out;
}

/* Changes [PROBES][n_target][d] of the bare prompt's hidden vectors by steps of h |v| along the basis. */
static mobiedit_status responses(const world *w, me_problem *p, bool trick, float h, float *out,
                                 mobiedit_error *err) {
    const int bare = 0;
    const size_t width = w->d * (size_t)p->n_target;
    float *steps = stretched(w, w->basis.directions, PROBES, h * p->value_norm),
          *zero = allocated(w->d, sizeof *zero);
    mobiedit_status status = trick ? me_problem_responses(p, zero, steps, PROBES, bare, out, err)
                                   : me_problem_hidden(p, steps, PROBES, &bare, 1, out, err);
    for (size_t i = 0; i < PROBES * width && !trick; i++)
        out[i] -= p->carriers->hidden[i % width];
    me_free(steps);
    me_free(zero);
    return status;
}

static double cosine(const float *a, const float *b, size_t n) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Loss of n deltas' hidden vectors [n][n_carriers][n_target][d]. */
static mobiedit_status losses(me_problem *p, const float *hidden, size_t n, double *out,
                              mobiedit_error *err) {
    const size_t carriers = (size_t)p->n_carriers;
    me_score *scores = allocated(n * carriers, sizeof *scores);
    ME_TRY(me_problem_score(p, hidden, (int)(n * carriers), scores, err));
    for (size_t i = 0; i < n; i++)
        out[i] = me_mean_loss(scores + i * carriers, p->n_carriers);
    me_free(scores);
    return MOBIEDIT_OK;
}

/* Loss after steps of `length` along all directions; `precise`: from responses instead of passes. */
static mobiedit_status loss_along(const world *w, me_problem *p, bool precise, float length, double *out,
                                  mobiedit_error *err) {
    const size_t size = (size_t)p->n_carriers * (size_t)p->n_target * w->d;
    float *hidden = allocated(BATCH * size, sizeof *hidden), *zero = allocated(w->d, sizeof *zero);
    int *all = allocated((size_t)p->n_carriers, sizeof *all);
    mobiedit_status status = MOBIEDIT_OK;
    for (int i = 0; i < p->n_carriers; i++)
        all[i] = i;
    for (size_t first = 0; first < DIRECTIONS && status == MOBIEDIT_OK; first += BATCH) {
        float *deltas = stretched(w, w->directions + first * w->d, BATCH, length);
        status = precise ? p->engine->ops->responses(p->engine, p->carriers, zero, deltas, BATCH, all,
                                                     p->n_carriers, hidden, err)
                         : me_problem_hidden(p, deltas, BATCH, NULL, 0, hidden, err);
        for (size_t i = 0; i < BATCH * size && precise; i++)
            hidden[i] += p->carriers->hidden[i % size];
        if (status == MOBIEDIT_OK) status = losses(p, hidden, BATCH, out + first, err);
        me_free(deltas);
    }
    me_free(hidden);
    me_free(zero);
    me_free(all);
    return status;
}

static mobiedit_status slopes(const world *w, me_problem *p, bool precise, float h, double *out,
                              mobiedit_error *err) {
    double there[DIRECTIONS], back[DIRECTIONS];
    ME_TRY(loss_along(w, p, precise, h * p->value_norm, there, err));
    ME_TRY(loss_along(w, p, precise, -h * p->value_norm, back, err));
    for (int i = 0; i < DIRECTIONS; i++)
        out[i] = (there[i] - back[i]) / (2.0 * (double)h);
    return MOBIEDIT_OK;
}

static double correlation(const double *a, const double *b, int n) {
    double am = 0, bm = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) {
        am += a[i] / n;
        bm += b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        ab += (a[i] - am) * (b[i] - bm);
        aa += (a[i] - am) * (a[i] - am);
        bb += (b[i] - bm) * (b[i] - bm);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static mobiedit_status text_logits(const world *w, me_engine *engine, float *logits, mobiedit_error *err) {
    const me_sequence text = {.tokens = w->text.ids, .n_tokens = TOKENS, .n_read = TOKENS};
    float *hidden = allocated(TOKENS * w->d, sizeof *hidden);
    ME_TRY(engine->ops->forward(engine, &text, 1, hidden, err));
    ME_TRY(engine->ops->logits(engine, hidden, TOKENS, logits, err));
    me_free(hidden);
    return MOBIEDIT_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static mobiedit_status open_engine(const world *w, int bits, me_engine **engine, me_problem **problem,
                                   mobiedit_error *err) {
    const me_native_options options = {
        .activation_bits = bits, .calibration = w->calibration.items, .n_calibration = w->calibration.n};
    ME_TRY(me_native_open(w->model, w->pool, &options, engine, err));
    return me_problem_open(*engine, w->layer, w->carriers.items, w->carriers.n, NULL,
                           me_sequence_target(w->carriers.items), w->carriers.items->n_read, problem, err);
}

static mobiedit_status measure_text(const world *w, const arithmetic *a, me_engine *engine,
                                    mobiedit_error *err) {
    const int n_vocab = w->model->n_vocab;
    float *logits = allocated(TOKENS * (size_t)n_vocab, sizeof *logits);
    double kl = 0, same = 0;
    ME_TRY(text_logits(w, engine, logits, err));
    for (size_t t = 0; t < TOKENS; t++) {
        const float *expected = w->logits + t * (size_t)n_vocab, *is = logits + t * (size_t)n_vocab;
        kl += me_kl(expected, is, n_vocab) / TOKENS;
        same += (double)(me_argmax(expected, n_vocab) == me_argmax(is, n_vocab)) / TOKENS;
    }
    (void)printf("{\"arithmetic\": \"%s\", \"text_kl\": %.6g, \"text_same\": %.4g, \"steps\": [", a->name, kl,
                 same);
    me_free(logits);
    return MOBIEDIT_OK;
}

static mobiedit_status measure_steps(const world *w, const arithmetic *a, me_problem *p,
                                     mobiedit_error *err) {
    const size_t width = w->d * (size_t)p->n_target;
    float *found = allocated(PROBES * width, sizeof *found);
    double sloping[DIRECTIONS];
    for (int i = 0; i < N_STEPS; i++) {
        double mean = 0;
        ME_TRY(responses(w, p, a->trick, STEPS[i], found, err));
        for (size_t j = 0; j < PROBES; j++)
            mean += cosine(found + j * width, w->expected + j * width, width) / PROBES;
        ME_TRY(slopes(w, p, a->trick && !a->activation_bits, STEPS[i], sloping, err));
        (void)printf("%s{\"step\": %g, \"response\": %.4f, \"slope\": %.4f}", i ? ", " : "", (double)STEPS[i],
                     mean, correlation(sloping, w->slopes, DIRECTIONS));
    }
    me_free(found);
    return MOBIEDIT_OK;
}

static mobiedit_status measure(const world *w, const arithmetic *a, mobiedit_error *err) {
    me_engine *engine = NULL;
    me_problem *problem = NULL;
    ME_TRY(open_engine(w, a->activation_bits, &engine, &problem, err));
    ME_TRY(measure_text(w, a, engine, err));
    ME_TRY(measure_steps(w, a, problem, err));
    (void)printf("]}");
    (void)fflush(stdout);
    me_problem_close(problem);
    engine->ops->close(engine);
    return MOBIEDIT_OK;
}

/* The native engine's answers, which all others are compared with. */
static mobiedit_status measure_reference(world *w, mobiedit_error *err) {
    me_engine *engine = NULL;
    me_problem *problem = NULL;
    ME_TRY(open_engine(w, 0, &engine, &problem, err));
    ME_TRY(me_basis_find(problem, NULL, PROBES, &w->basis, err));
    ME_TRY(responses(w, problem, true, REFERENCE_STEP, w->expected, err));
    ME_TRY(slopes(w, problem, true, REFERENCE_STEP, w->slopes, err));
    ME_TRY(text_logits(w, engine, w->logits, err));
    (void)printf("\"layer\": %d, \"d_model\": %zu, \"value_norm\": %g", w->layer, w->d,
                 (double)problem->value_norm);
    me_problem_close(problem);
    engine->ops->close(engine);
    return MOBIEDIT_OK;
}

static mobiedit_status run(char **arguments, mobiedit_error *err) {
    world w = {0};
    ME_TRY(open_world(&w, arguments, err));
    (void)printf("{");
    ME_TRY(measure_reference(&w, err));
    (void)printf(", \"arithmetics\": [");
    for (int i = 0; i < N_ARITHMETICS; i++) {
        if (i) (void)printf(", ");
        ME_TRY(measure(&w, &ARITHMETICS[i], err));
    }
    (void)printf("]}\n");
    me_sequences_free(&w.calibration);
    me_sequences_free(&w.carriers);
    me_tokens_free(&w.text);
    me_basis_free(&w.basis);
    me_free(w.directions);
    me_free(w.expected);
    me_free(w.slopes);
    me_free(w.logits);
    me_pool_close(w.pool);
    me_vocab_close(w.vocab);
    me_model_close(w.model);
    return MOBIEDIT_OK;
}

int main(int argc, char **argv) {
    mobiedit_error err = {0};
    if (argc != 6) {
        (void)fprintf(stderr, "usage: profile_accuracy MODEL.gguf TEXT.txt LAYER PROMPT TARGET\n");
        return 2;
    }
    if (run(argv, &err) == MOBIEDIT_OK) return 0;
    (void)fprintf(stderr, "profile_accuracy: %s\n", err.message);
    return 1;
}
