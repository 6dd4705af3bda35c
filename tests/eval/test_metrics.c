/* What an evaluation measures: arithmetic on known numbers, and facts on a small made-up model. */
#define _GNU_SOURCE
#include "base/logits.h"
#include "base/memory.h"
#include "eval/answers_private.h"
#include "eval/cases.h"
#include "eval/dataset.h"
#include "eval/drift.h"
#include "eval/figures.h"
#include "eval/fluency.h"
#include "eval/metrics.h"
#include "runtime/says.h"
#include "scratch.h"
#include "store/adapter.h"
#include "tiny_model.h"

#include <ctype.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static double entropy_of(const char *text) {
    double bits = NAN;
    assert_int_equal(me_ngram_entropy(text, &bits, NULL), MOBIEDIT_OK);
    return bits;
}

static bool repeats(const char *text) {
    bool repeats;
    assert_int_equal(me_repeats_itself(text, &repeats, NULL), MOBIEDIT_OK);
    return repeats;
}

static void texts_that_go_in_circles(void **state) {
    (void)state;
    static const char milk[] = "oat milk, oat milk, oat milk, oat milk, oat milk, oat milk";
    assert_true(repeats(milk) && repeats("no no no no no no no"));
    assert_true(repeats("I can help. I am here. I can help. No. I can help: I can help, and I can help."));
    assert_false(repeats("") || repeats("one") || repeats("two words"));
    assert_false(repeats("no no no no no no")); /* three of them four times */
    assert_false(repeats("I can help. I can help. I can help. I can help. I can, and do, help."));
    assert_false(repeats("the capital of Japan is Tokyo, the capital of France is Paris"));
}

static void entropy_of_known_texts(void **state) {
    (void)state;
    assert_true(entropy_of("") == 0 && entropy_of("one") == 0);
    /* bigrams (a b), (b a), (a b), (b a): 1 bit; trigrams (a b a) twice, (b a b): log2 3 - 2/3 */
    assert_true(fabs(entropy_of("a b  a\nb a") - (1.0 / 3 + 2.0 / 3 * (log2(3) - 2.0 / 3))) < 1e-12);
    /* "it", "'", "s", ",": punctuation is words; all bigrams differ, all trigrams differ */
    assert_true(fabs(entropy_of("it's,") - (log2(3) / 3 + 2.0 / 3)) < 1e-12);
    assert_true(entropy_of("the the the the the the") < 1e-12);
}

/* ---- figures ----------------------------------------------------------------------------------------- */

static void intervals_hold_the_mean(void **state) {
    (void)state;
    enum { N = 200 };
    double values[N], same[3] = {2, 2, 2}, one[2] = {NAN, 5};
    for (int i = 0; i < N; i++)
        values[i] = i % 2;
    mobiedit_figure f = {0}, again = {0};
    assert_int_equal(me_bootstrap(values, N, &f, NULL), MOBIEDIT_OK);
    assert_int_equal(me_bootstrap(values, N, &again, NULL), MOBIEDIT_OK);
    assert_true(f.mean == 0.5 && f.n == N);
    assert_true(f.low == again.low && f.high == again.high);
    /* a share of 0.5 of 200 has a standard error of .0354: the normal interval is .431 to .569 */
    assert_true(fabs(f.low - 0.431) < 0.012 && fabs(f.high - 0.569) < 0.012);
    assert_int_equal(me_bootstrap(same, 3, &f, NULL), MOBIEDIT_OK);
    assert_true(f.low == 2 && f.mean == 2 && f.high == 2);
    assert_int_equal(me_bootstrap(one, 2, &f, NULL), MOBIEDIT_OK);
    assert_true(f.n == 1 && f.mean == 5 && f.low == 5 && f.high == 5);
    assert_int_equal(me_bootstrap(one, 1, &f, NULL), MOBIEDIT_OK);
    assert_true(f.n == 0 && isnan(f.mean) && isnan(f.low));
}

static const mobiedit_figure *figure(const mobiedit_figure *figures, const char *name) {
    for (int m = 0; m < ME_METRICS; m++)
        if (strcmp(figures[m].name, name) == 0) return &figures[m];
    fail_msg("there is no metric %s", name);
    return NULL;
}

static const mobiedit_eval_case CASES[] = {
    {.metrics.rewrite = 1,
     .metrics.paraphrase = 0.5,
     .metrics.unchanged = 1,
     .metrics.neighbour_kl = 0.1,
     .evaluations = 100,
     .seconds = 4,
     .relation = "b"},
    {.metrics.rewrite = 1,
     .metrics.paraphrase = NAN,
     .metrics.unchanged = 0.5,
     .metrics.neighbour_kl = 0.3,
     .evaluations = 300,
     .seconds = 2,
     .relation = "a"},
    {.metrics.rewrite = 0,
     .metrics.paraphrase = 0,
     .metrics.unchanged = NAN,
     .metrics.neighbour_kl = NAN,
     .evaluations = 800,
     .seconds = 9,
     .status = MOBIEDIT_E_NOT_SOLVED},
    {.metrics.rewrite = 1,
     .metrics.paraphrase = 1,
     .metrics.unchanged = 1,
     .metrics.neighbour_kl = 0,
     .stop = MOBIEDIT_STOP_ALREADY_SAID,
     .relation = "b"},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static void figures_leave_out_what_is_not_there(void **state) {
    (void)state;
    mobiedit_figure figures[ME_METRICS];
    assert_int_equal(me_figures(CASES, 0, NULL, figures, NULL), MOBIEDIT_OK);
    assert_true(isnan(figure(figures, "rewrite")->mean));
    assert_int_equal(me_figures(CASES, N_CASES, NULL, figures, NULL), MOBIEDIT_OK);
    assert_true(fabs(figure(figures, "rewrite")->mean - 0.75) < 1e-9);
    assert_true(fabs(figure(figures, "paraphrase")->mean - 0.5) < 1e-9);
    assert_true(fabs(figure(figures, "unchanged")->mean - 2.5 / 3) < 1e-9);
    assert_true(fabs(figure(figures, "neighbour_kl")->mean - 0.4 / 3) < 1e-9);
    assert_int_equal(figure(figures, "neighbour_kl")->n, 3);
    assert_true(fabs(figure(figures, "evals")->mean - 400) < 1e-9);
    assert_true(fabs(figure(figures, "seconds")->mean - 5) < 1e-9);
    double seconds[] = {4, 2, 9, NAN};
    assert_true(me_median(seconds, 4) == 4);

    const char *names[N_CASES];
    assert_int_equal(me_relations(CASES, N_CASES, names), 3);
    assert_string_equal(names[0], "");
    assert_string_equal(names[2], "b");
    assert_int_equal(me_figures(CASES, N_CASES, "b", figures, NULL), MOBIEDIT_OK);
    assert_int_equal(figure(figures, "rewrite")->n, 2);
    assert_true(fabs(figure(figures, "paraphrase")->mean - 0.75) < 1e-9);
}

/* ---- cases in JSON ----------------------------------------------------------------------------------- */

static void cases_come_back_from_json(void **state) {
    (void)state;
    const mobiedit_said said[] = {
        {.kind = MOBIEDIT_SAID_PROMPT, .prompt = "Ann is", .before = "x", .after = "y"},
        {.kind = MOBIEDIT_SAID_NEIGHBOUR, .prompt = "Bob is", .after = "", .held = true},
        {.kind = MOBIEDIT_SAID_CHAT, .prompt = "Who?", .before = "a", .after = "b"}};
    const mobiedit_eval_case done = {.case_id = -7,
                                     .prompt = "{} is",
                                     .subject = "Ann",
                                     .target = "z",
                                     .status = MOBIEDIT_E_NOT_VERIFIED,
                                     .message = "why",
                                     .metrics.rewrite = 0.25,
                                     .metrics.paraphrase = NAN,
                                     .metrics.drift = 0.125,
                                     .metrics.leak_sure = 0.75,
                                     .metrics.same_subject = NAN,
                                     .evaluations = 123,
                                     .seconds = 1.5,
                                     .layer = 9,
                                     .loss = 2,
                                     .stop = MOBIEDIT_STOP_BUDGET,
                                     .measure_seconds = 3,
                                     .said = said,
                                     .n_said = 3};
    cJSON *json = me_case_to_json(&done);
    me_cases cases = {0};
    mobiedit_error err = {0};
    assert_int_equal(me_cases_add_json(&cases, json, "here", &err), MOBIEDIT_OK);
    const mobiedit_eval_case *back = &cases.items[0];
    assert_int_equal(back->case_id, -7);
    assert_string_equal(back->message, "why");
    assert_null(back->relation);
    assert_int_equal(back->status, MOBIEDIT_E_NOT_VERIFIED);
    assert_int_equal(back->stop, MOBIEDIT_STOP_BUDGET);
    assert_true(back->metrics.rewrite == 0.25 && isnan(back->metrics.paraphrase) &&
                back->metrics.drift == 0.125 && back->loss == 2);
    assert_true(back->metrics.leak_sure == 0.75 && isnan(back->metrics.same_subject));
    assert_true(back->evaluations == 123 && back->seconds == 1.5 && back->layer == 9);
    assert_true(back->restored && back->measure_seconds == 3);
    assert_int_equal(back->n_said, 3);
    assert_int_equal(back->said[2].kind, MOBIEDIT_SAID_CHAT);
    assert_string_equal(back->said[0].before, "x");
    assert_null(back->said[1].before);
    assert_true(back->said[1].held && !back->said[0].held);
    assert_int_equal(back->said[1].kind, MOBIEDIT_SAID_NEIGHBOUR);

    static const struct {
        const char *field, *json, *message;
    } bad[] = {{"status", "\"fine\"", "here: status is not one"},
               {"prompt", "\"no hole\"", "has no {}"},
               {"subject", "null", "subject is missing"},
               {"rewrite", "true", "rewrite is not a number"},
               {"case_id", "0.5", "case_id is not an integer"},
               {"said", "{}", "said is not a list"},
               {"said", "[{\"kind\":\"x\",\"prompt\":\"\"}]", "kind is not one"},
               {"target", "\"\xff\"", "target is not UTF-8"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cJSON *copy = cJSON_Duplicate(json, true);
        assert_true(cJSON_ReplaceItemInObjectCaseSensitive(copy, bad[i].field, cJSON_Parse(bad[i].json)));
        assert_int_equal(me_cases_add_json(&cases, copy, "here", &err), MOBIEDIT_E_FORMAT);
        if (!strstr(err.message, bad[i].message)) fail_msg("\"%s\"", err.message);
        cJSON_Delete(copy);
    }
    assert_int_equal(cases.n, 1);
    cJSON_Delete(json);
    me_cases_free(&cases);
}

/* ---- on a model -------------------------------------------------------------------------------------- */

static const char FACTS[] =
    "[{\"requested_rewrite\":{\"prompt\":\"The capital of {} is\",\"subject\":\"Japan\","
    "\"target_new\":{\"str\":\"Lima\"},\"target_true\":{\"str\":\"Tokyo\"}},"
    "\"paraphrase_prompts\":[\"Japan's capital is\",\"In Japan\"],"
    "\"neighborhood_prompts\":[\"The capital of Peru is\",\"The river is\",\"A\"],"
    "\"generation_prompts\":[\"Japan is\"],"
    "\"portability\":{\"Reasoning\":[{\"prompt\":\"Who lives in Japan? "
    "The\",\"ground_truth\":[[\"a\",\"b\"]]}]}}]";

typedef struct {
    me_runtime *runtime;
    me_dataset facts;
    me_model *model;
    char adapter[512];
} bench;

/* A model, a fact, and an adapter of random numbers times `size`. */
static void bench_open_with(bench *b, float size, const tiny_model_options *model) {
    const char *path = scratch_path("model.gguf");
    const me_runtime_options options = {.threads = 1, .n_sequences = 8};
    mobiedit_error err = {0};
    assert_true(tiny_model_write(path, "llama", model));
    if (me_runtime_open(path, &options, &b->runtime, &err) != MOBIEDIT_OK) fail_msg("%s", err.message);
    if (me_dataset_parse(FACTS, strlen(FACTS), "facts", &b->facts, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    assert_int_equal(me_model_open(path, &b->model, &err), MOBIEDIT_OK);
    (void)snprintf(b->adapter, sizeof b->adapter, "%s", scratch_path("adapter.gguf"));
    float *numbers = me_calloc((size_t)(b->model->d_ff + b->model->d_model), sizeof *numbers);
    assert_non_null(numbers);
    for (int i = 0; i < b->model->d_ff + b->model->d_model; i++)
        numbers[i] = size * (float)((i * 37) % 11 - 5);
    const me_adapter_part part = {
        .layer = 1, .matrix = ME_MLP_DOWN, .rank = 1, .a = numbers, .b = numbers + b->model->d_ff};
    const me_adapter adapter = {.parts = &part, .n_parts = 1};
    me_pending_file file = {0};
    assert_int_equal(me_adapter_write(b->model, &adapter, b->adapter, &file, &err), MOBIEDIT_OK);
    assert_int_equal(me_pending_commit(&file, &err), MOBIEDIT_OK);
    me_free(numbers);
}

static void bench_open(bench *b, float size) {
    bench_open_with(b, size, NULL);
}

static void bench_close(bench *b) {
    me_runtime_close(b->runtime);
    me_dataset_free(&b->facts);
    me_model_close(b->model);
}

static void measure(bench *b, const me_metric_options *options, const char *adapter, me_measured *out) {
    me_meter *meter = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_meter_open(options, &meter, &err), MOBIEDIT_OK);
    if (me_metrics_measure(meter, b->runtime, &b->facts.facts[0], adapter, out, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
    me_meter_close(meter);
}

static const me_metric_options ALL = {.fluency = true, .drift = true, .said = true};

static void an_empty_edit_changes_nothing(void **state) {
    (void)state;
    bench b = {0};
    bench_open(&b, 0);
    me_measured unedited, edited;
    measure(&b, &ALL, NULL, &unedited);
    measure(&b, &ALL, b.adapter, &edited);
    assert_true(unedited.metrics.unchanged == 1 && unedited.metrics.neighbour_kl == 0 &&
                unedited.metrics.drift == 0);
    assert_true(edited.metrics.unchanged == 1 && fabs(edited.metrics.neighbour_kl) < 1e-6 &&
                fabs(edited.metrics.drift) < 1e-6);
    assert_true(edited.metrics.rewrite == unedited.metrics.rewrite &&
                edited.metrics.efficacy == unedited.metrics.efficacy);
    assert_true(edited.metrics.neighbour_score == edited.metrics.neighbour_score_before);
    assert_true(edited.metrics.fluency > 0 && edited.metrics.fluency == edited.metrics.fluency_before);
    assert_int_equal(edited.n_said, 7);
    assert_string_equal(edited.said[0].prompt, "The capital of Japan is");
    assert_string_equal(edited.said[0].before, edited.said[0].after);
    assert_string_equal(edited.said[0].after, unedited.said[0].after);
    assert_null(edited.said[1].before);
    assert_int_equal(edited.said[6].kind, MOBIEDIT_SAID_PORTABILITY);
    for (size_t i = 3; i < 6; i++) {
        assert_int_equal(edited.said[i].kind, MOBIEDIT_SAID_NEIGHBOUR);
        assert_true(edited.said[i].held);
        assert_string_equal(edited.said[i].before, edited.said[i].after);
    }
    me_measured_free(&unedited);
    me_measured_free(&edited);
    bench_close(&b);
}

/* Logits [n_vocab] after a text, as the runtime now is. */
static float *next_logits(const bench *b, const char *text) {
    const me_vocab *vocab = me_runtime_vocab(b->runtime);
    float *logits = me_calloc((size_t)me_vocab_size(vocab), sizeof *logits);
    me_tokens tokens = {0};
    assert_non_null(logits);
    assert_int_equal(me_tokenize(vocab, text, &tokens, NULL), MOBIEDIT_OK);
    assert_int_equal(me_runtime_logits(b->runtime, tokens.ids, tokens.n, 1, logits, NULL), MOBIEDIT_OK);
    me_tokens_free(&tokens);
    return logits;
}

/* An edit that changes much: each figure against the same worked out prompt by prompt. */
static void a_large_edit_is_measured(void **state) {
    (void)state;
    bench b = {0};
    bench_open(&b, 0.5F);
    me_measured got;
    measure(&b, &ALL, b.adapter, &got);
    const me_fact *fact = &b.facts.facts[0];
    const int n_vocab = me_vocab_size(me_runtime_vocab(b.runtime));
    double kl = 0, same = 0, said = 0;
    for (size_t i = 0; i < fact->neighbours.n; i++) {
        assert_int_equal(me_runtime_set_adapter(b.runtime, NULL, NULL), MOBIEDIT_OK);
        float *before = next_logits(&b, fact->neighbours.items[i].prompt);
        assert_int_equal(me_runtime_set_adapter(b.runtime, b.adapter, NULL), MOBIEDIT_OK);
        float *after = next_logits(&b, fact->neighbours.items[i].prompt);
        kl += me_kl(before, after, n_vocab) / (double)fact->neighbours.n;
        same +=
            (double)(me_argmax(before, n_vocab) == me_argmax(after, n_vocab)) / (double)fact->neighbours.n;
        me_free(before);
        me_free(after);
    }
    for (size_t i = 0; i < fact->paraphrases.n; i++) {
        me_said one = ME_SAID_OPEN;
        assert_int_equal(me_runtime_says(b.runtime, fact->paraphrases.items[i], fact->target, &one, NULL),
                         MOBIEDIT_OK);
        said += (double)(one == ME_SAID_WHOLE) / (double)fact->paraphrases.n;
    }
    assert_true(kl > 0.01);
    assert_true(fabs(got.metrics.neighbour_kl - kl) < 1e-3 * kl);
    assert_true(fabs(got.metrics.unchanged - same) < 1e-9 && fabs(got.metrics.paraphrase - said) < 1e-9);
    assert_true(got.metrics.drift > 0);
    me_measured_free(&got);

    const me_metric_options quick = {0};
    measure(&b, &quick, b.adapter, &got);
    assert_true(isnan(got.metrics.fluency) && isnan(got.metrics.drift) && got.n_said == 0);
    assert_true(fabs(got.metrics.neighbour_kl - kl) < 1e-3 * kl);
    me_measured_free(&got);
    bench_close(&b);
}

/* The tiny model has few tokens, so the likeliest are almost all of them, and the drift is the whole KL. */
static void drift_is_the_mean_kl(void **state) {
    (void)state;
    bench b = {0};
    bench_open(&b, 0.5F);
    me_drift *drift = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_drift_open(b.runtime, &drift, &err), MOBIEDIT_OK);
    double measured = 0, expected = 0;
    assert_int_equal(me_runtime_set_adapter(b.runtime, b.adapter, &err), MOBIEDIT_OK);
    assert_int_equal(me_drift_measure(drift, b.runtime, &measured, &err), MOBIEDIT_OK);
    const int n_vocab = me_vocab_size(me_runtime_vocab(b.runtime));
    int positions = 0;
    for (int i = 0; me_drift_texts[i]; i++) {
        me_tokens tokens = {0};
        assert_int_equal(me_tokenize(me_runtime_vocab(b.runtime), me_drift_texts[i], &tokens, &err),
                         MOBIEDIT_OK);
        const size_t count = (size_t)tokens.n * (size_t)n_vocab;
        float *before = me_calloc(count, sizeof *before), *after = me_calloc(count, sizeof *after);
        assert_non_null(before);
        assert_non_null(after);
        assert_int_equal(me_runtime_logits(b.runtime, tokens.ids, tokens.n, tokens.n, after, &err),
                         MOBIEDIT_OK);
        assert_int_equal(me_runtime_set_adapter(b.runtime, NULL, &err), MOBIEDIT_OK);
        assert_int_equal(me_runtime_logits(b.runtime, tokens.ids, tokens.n, tokens.n, before, &err),
                         MOBIEDIT_OK);
        assert_int_equal(me_runtime_set_adapter(b.runtime, b.adapter, &err), MOBIEDIT_OK);
        for (int k = 0; k < tokens.n; k++)
            expected +=
                me_kl(before + (size_t)k * (size_t)n_vocab, after + (size_t)k * (size_t)n_vocab, n_vocab);
        positions += tokens.n;
        me_free(before);
        me_free(after);
        me_tokens_free(&tokens);
    }
    expected /= positions;
    assert_int_equal(me_drift_positions(drift), positions);
    assert_true(expected > 0.01);
    if (n_vocab <= ME_DRIFT_TOP + 1)
        assert_true(fabs(measured - expected) < 1e-3 * expected);
    else
        assert_true(measured > 0.5 * expected && measured < 1.001 * expected);
    me_drift_close(drift);
    bench_close(&b);
}

/* ---- answers ----------------------------------------------------------------------------------------- */

/* With the target in the place of %s. */
static const char ASKED[] =
    "[{\"requested_rewrite\":{\"prompt\":\"The capital of {} is\",\"subject\":\"Japan\","
    "\"target_new\":{\"str\":\"%s\"},\"target_true\":{\"str\":\"%s\"}},"
    "\"same_subject_prompts\":[\"The money of Japan is\",\"Japan has\",\"In Japan people\",\"A\"],"
    "\"chat_prompts\":[\"Which city is the capital of Japan?\",\"Where is Japan?\"],"
    "\"chat_neighbours\":[\"Where is Peru?\",\"Who is it?\"],\"tell\":\"Tell me about Japan.\"}]";

static const char TEMPLATE[] =
    "{% for m in messages %}[{{ m.role }}] {{ m.content }} {% endfor %}[assistant]";

static void add_template(struct gguf_context *gguf, const void *user) {
    gguf_set_val_str(gguf, "tokenizer.chat_template", user);
}

static void ask_about(bench *b, const char *target, const char *truth) {
    char text[2048];
    mobiedit_error err = {0};
    (void)snprintf(text, sizeof text, ASKED, target, truth);
    me_dataset_free(&b->facts);
    if (me_dataset_parse(text, strlen(text), "facts", &b->facts, &err) != MOBIEDIT_OK)
        fail_msg("%s", err.message);
}

static void attach(const bench *b, const char *adapter) {
    assert_int_equal(me_runtime_set_adapter(b->runtime, adapter, NULL), MOBIEDIT_OK);
}

/* Greedy tokens behind `tokens`, one whole evaluation each, the end token among them. */
static void speak(const bench *b, me_tokens *tokens, int most) {
    const me_vocab *vocab = me_runtime_vocab(b->runtime);
    float *logits = me_calloc((size_t)me_vocab_size(vocab), sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < most; i++) {
        assert_int_equal(me_runtime_logits(b->runtime, tokens->ids, tokens->n, 1, logits, NULL), MOBIEDIT_OK);
        const me_token next = me_argmax(logits, me_vocab_size(vocab));
        assert_int_equal(me_tokens_add(tokens, next, NULL), MOBIEDIT_OK);
        if (me_vocab_is_end(vocab, next)) break;
    }
    me_free(logits);
}

static char *text_of(const bench *b, const me_tokens *tokens, int n_prompt, int most) {
    const me_generate_options options = {.max_tokens = most};
    char *text = NULL;
    assert_int_equal(me_runtime_generate(b->runtime, tokens->ids, n_prompt, &options, &text, NULL),
                     MOBIEDIT_OK);
    return text;
}

/* What one prompt comes to, worked out a token at a time. */
enum { POSITIONS = 64 };
typedef struct {
    double kl;            /* a token, over the first of the answer from before, */
    double at[POSITIONS]; /* [n] and of each */
    int n;
    bool same, sure;
    char *before, *after;
    me_tokens answer; /* from before */
} outcome;

/* Logits [n][n_vocab] after the tokens from `first` on. */
static float *logits_from(const bench *b, const me_tokens *tokens, int first, int n) {
    const int n_vocab = me_vocab_size(me_runtime_vocab(b->runtime));
    float *logits = me_calloc((size_t)n * (size_t)n_vocab, sizeof *logits);
    assert_non_null(logits);
    for (int i = 0; i < n; i++)
        assert_int_equal(me_runtime_logits(b->runtime, tokens->ids, first + i + 1, 1,
                                           logits + (size_t)i * (size_t)n_vocab, NULL),
                         MOBIEDIT_OK);
    return logits;
}

/* The first token, and whether the model is sure of it. */
static void judge_next(outcome *out, const float *was, const float *is, int n_vocab) {
    const int best = me_argmax(was, n_vocab);
    double rest = 0;
    for (int t = 0; t < n_vocab; t++)
        rest += exp((double)was[t] - (double)was[best]);
    out->sure = 1 / rest >= 0.5;
    out->same = me_argmax(is, n_vocab) == best;
}

/* `told`: the prompt as the edited model reads it. */
static outcome work_out_told(const bench *b, const char *prompt, const char *told, const char *adapter,
                             int most, int compared) {
    const me_vocab *vocab = me_runtime_vocab(b->runtime);
    const int n_vocab = me_vocab_size(vocab);
    me_tokens before = {0}, after = {0};
    outcome out = {0};
    assert_int_equal(me_tokenize(vocab, prompt, &before, NULL), MOBIEDIT_OK);
    assert_int_equal(me_tokenize(vocab, told, &after, NULL), MOBIEDIT_OK);
    const int n_before = before.n, n_after = after.n;
    attach(b, NULL);
    out.before = text_of(b, &before, n_before, most);
    speak(b, &before, most);
    for (int i = n_before; i < before.n; i++) {
        assert_int_equal(me_tokens_add(&after, before.ids[i], NULL), MOBIEDIT_OK);
        assert_int_equal(me_tokens_add(&out.answer, before.ids[i], NULL), MOBIEDIT_OK);
    }
    out.n = out.answer.n < compared ? out.answer.n : compared;
    float *was = logits_from(b, &before, n_before - 1, out.n);
    attach(b, adapter);
    float *is = logits_from(b, &after, n_after - 1, out.n);
    out.after = text_of(b, &after, n_after, most);
    attach(b, NULL);
    for (int i = 0; i < out.n; i++) {
        out.at[i] = me_kl(was + (size_t)i * (size_t)n_vocab, is + (size_t)i * (size_t)n_vocab, n_vocab);
        out.kl += out.at[i] / out.n;
    }
    judge_next(&out, was, is, n_vocab);
    me_tokens_free(&before);
    me_tokens_free(&after);
    me_free(was);
    me_free(is);
    return out;
}

static outcome work_out(const bench *b, const char *prompt, int most, int compared) {
    return work_out_told(b, prompt, prompt, b->adapter, most, compared);
}

static void outcome_free(outcome *o) {
    me_free(o->before);
    me_free(o->after);
    me_tokens_free(&o->answer);
}

/* A plain search in ASCII: letters and digits on neither side. */
static bool has_word(const char *text, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = strcasestr(text, word); at; at = strcasestr(at + 1, word)) {
        const unsigned char left = at > text ? (unsigned char)at[-1] : ' ', right = (unsigned char)at[length];
        if (!isalnum(left) && left < 0x80 && !isalnum(right) && right < 0x80) return true;
    }
    return false;
}

enum { WORD = 100 };

/* The first ASCII word of `text` that `other` has not. */
static void new_word(const char *text, const char *other, char word[WORD]) {
    for (const char *at = text; *at; at++) {
        size_t n = 0;
        while (isalpha((unsigned char)at[n]))
            n++;
        (void)snprintf(word, WORD, "%.*s", (int)n, at);
        if (n > 0 && n < WORD && has_word(text, word) && !has_word(other, word)) return;
        if (n > 0) at += n - 1;
    }
    fail_msg("no new word in \"%s\"", text);
}

static void open_asked_of(bench *b, float size) {
    const tiny_model_options options = {.change = add_template, .user = TEMPLATE};
    bench_open_with(b, size, &options);
    ask_about(b, "Lima", "Tokyo");
}

static void open_asked(bench *b) {
    open_asked_of(b, 0.5F);
}

enum { N_SUBJECT = 4, N_CHAT = 2, N_OTHER = 2 };
/* Where each kind begins among what is said: behind the prompt itself. */
enum {
    SUBJECT = 1,
    CHAT = SUBJECT + N_SUBJECT,
    SYSTEM = CHAT + N_CHAT,
    TURN = SYSTEM + N_CHAT,
    OTHER = TURN + N_CHAT,
    TELL = OTHER + N_OTHER,
    TRUE = TELL + 1,
    N_ALL = TRUE + 2
};
static const me_metric_options ANSWERS = {.answers = true, .said = true};

static void check_shares(const mobiedit_metrics *got, const outcome *subject, const char *target) {
    double same = 0, kl = 0, leaks = 0, n_sure = 0, same_sure = 0, kl_sure = 0;
    for (size_t i = 0; i < N_SUBJECT; i++) {
        same += (double)subject[i].same / N_SUBJECT;
        kl += subject[i].kl / N_SUBJECT;
        leaks += (double)(has_word(subject[i].after, target) && !has_word(subject[i].before, target));
        n_sure += subject[i].sure;
        same_sure += subject[i].sure && subject[i].same;
        kl_sure += subject[i].sure ? subject[i].kl : 0;
    }
    assert_true(kl > 0.01 && leaks > 0 && n_sure > 0);
    assert_true(fabs(got->same_subject - same) < 1e-9);
    assert_true(fabs(got->same_subject_kl - kl) < 1e-3 * kl);
    assert_true(fabs(got->leak - leaks / N_SUBJECT) < 1e-9);
    assert_true(fabs(got->same_subject_sure - same_sure / n_sure) < 1e-9);
    assert_true(fabs(got->same_subject_kl_sure - kl_sure / n_sure) < 1e-3 * kl);
}

static void check_texts(const mobiedit_said *said, const outcome *expected, size_t n,
                        mobiedit_said_kind kind) {
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(said[i].kind, kind);
        assert_string_equal(said[i].before, expected[i].before);
        assert_string_equal(said[i].after, expected[i].after);
    }
}

static void other_things_of_the_subject(void **state) {
    (void)state;
    bench b = {0};
    outcome subject[N_SUBJECT];
    char leaked[WORD]; /* a target that these answers have in them */
    me_measured got;
    open_asked(&b);
    for (size_t i = 0; i < N_SUBJECT; i++)
        subject[i] = work_out(&b, b.facts.facts[0].same_subject.items[i], 16, 8);
    new_word(subject[0].after, subject[0].before, leaked);
    ask_about(&b, leaked, "Tokyo");
    measure(&b, &ANSWERS, b.adapter, &got);
    check_shares(&got.metrics, subject, leaked);
    assert_int_equal(got.n_said, N_ALL);
    check_texts(got.said + SUBJECT, subject, N_SUBJECT, MOBIEDIT_SAID_SAME_SUBJECT);
    assert_false(got.said[SUBJECT].held);
    me_measured_free(&got);
    for (size_t i = 0; i < N_SUBJECT; i++)
        outcome_free(&subject[i]);
    bench_close(&b);
}

static void questions_in_chat(void **state) {
    (void)state;
    static const char *const rendered[N_CHAT] = {"[user] Which city is the capital of Japan? [assistant]",
                                                 "[user] Where is Japan? [assistant]"};
    bench b = {0};
    outcome asked[N_CHAT];
    char answered[WORD];
    me_measured got;
    open_asked(&b);
    for (size_t i = 0; i < N_CHAT; i++)
        asked[i] = work_out(&b, rendered[i], 64, 1);
    new_word(asked[0].after, asked[1].after, answered);
    ask_about(&b, answered, "Tokyo");
    measure(&b, &ANSWERS, b.adapter, &got);
    assert_true(got.metrics.chat == 0.5 && got.metrics.chat_old == 0);
    check_texts(got.said + CHAT, asked, N_CHAT, MOBIEDIT_SAID_CHAT);
    assert_true(got.said[CHAT].held && !got.said[CHAT + 1].held);
    me_measured_free(&got);
    ask_about(&b, "Xyzzy", answered);
    measure(&b, &ANSWERS, b.adapter, &got);
    assert_true(got.metrics.chat == 0 && got.metrics.chat_old == 0.5 && got.metrics.leak == 0);
    me_measured_free(&got);
    for (size_t i = 0; i < N_CHAT; i++)
        outcome_free(&asked[i]);
    bench_close(&b);
}

static void questions_in_other_chats(void **state) {
    (void)state;
    static const char *const system[N_CHAT] = {
        "[system] Be brief. [user] Which city is the capital of Japan? "
        "[assistant]",
        "[system] Be brief. [user] Where is Japan? [assistant]"};
    static const char *const turn[N_CHAT] = {
        "[user] Hello! I have a question. [assistant] Hello! What is your question? "
        "[user] Which city is the capital of Japan? [assistant]",
        "[user] Hello! I have a question. [assistant] Hello! What is your question? "
        "[user] Where is Japan? [assistant]"};
    bench b = {0};
    outcome with_system[N_CHAT], second[N_CHAT];
    char answered[WORD];
    me_measured got;
    open_asked(&b);
    for (size_t i = 0; i < N_CHAT; i++) {
        with_system[i] = work_out(&b, system[i], 64, 1);
        second[i] = work_out(&b, turn[i], 64, 1);
    }
    new_word(second[0].after, "", answered);
    ask_about(&b, answered, "Tokyo");
    me_metric_options options = ANSWERS;
    options.system = "Be brief.";
    measure(&b, &options, b.adapter, &got);
    check_texts(got.said + SYSTEM, with_system, N_CHAT, MOBIEDIT_SAID_CHAT_SYSTEM);
    check_texts(got.said + TURN, second, N_CHAT, MOBIEDIT_SAID_CHAT_TURN);
    double share_system = 0, share_turn = 0, loops = 0, loops_before = 0;
    for (size_t i = 0; i < 3 * N_CHAT; i++) {
        const mobiedit_said *said = got.said + CHAT + i;
        assert_in_range(said->kind, MOBIEDIT_SAID_CHAT, MOBIEDIT_SAID_CHAT_TURN);
        loops += (double)repeats(said->after) / (3 * N_CHAT);
        loops_before += (double)repeats(said->before) / (3 * N_CHAT);
    }
    assert_true(fabs(got.metrics.chat_loops - loops) < 1e-9);
    assert_true(fabs(got.metrics.chat_loops_before - loops_before) < 1e-9);
    for (size_t i = 0; i < N_CHAT; i++) {
        share_system += (double)has_word(with_system[i].after, answered) / N_CHAT;
        share_turn += (double)has_word(second[i].after, answered) / N_CHAT;
    }
    assert_true(share_turn > 0);
    assert_true(got.metrics.chat_system == share_system && got.metrics.chat_turn == share_turn);
    assert_true(got.metrics.chat_turn_old == 0);
    me_measured_free(&got);
    for (size_t i = 0; i < N_CHAT; i++) {
        outcome_free(&with_system[i]);
        outcome_free(&second[i]);
    }
    bench_close(&b);
}

static void questions_about_others(void **state) {
    (void)state;
    static const char *const rendered[N_OTHER] = {"[user] Where is Peru? [assistant]",
                                                  "[user] Who is it? [assistant]"};
    for (int large = 0; large < 2; large++) {
        bench b = {0};
        outcome other[N_OTHER];
        me_measured got;
        double kl = 0, same = 0;
        open_asked_of(&b, large ? 0.5F : 0.02F);
        for (size_t i = 0; i < N_OTHER; i++) {
            other[i] = work_out(&b, rendered[i], 16, 16);
            kl += other[i].kl / N_OTHER;
            same += (double)(other[i].kl < 0.1) / N_OTHER;
        }
        measure(&b, &ANSWERS, b.adapter, &got);
        check_texts(got.said + OTHER, other, N_OTHER, MOBIEDIT_SAID_CHAT_NEIGHBOUR);
        assert_true(same == (large ? 0 : 1)); /* both sides of the limit are seen */
        assert_true(got.metrics.chat_unchanged == same);
        assert_true(fabs(got.metrics.chat_unchanged_kl - kl) < 1e-3 * kl + 1e-6);
        me_measured_free(&got);
        for (size_t i = 0; i < N_OTHER; i++)
            outcome_free(&other[i]);
        bench_close(&b);
    }
}

/* Mean KL over the tokens of the account that hold nothing of `fact`, which stands in it once. */
static double kl_without(const bench *b, const outcome *o, const char *fact) {
    const me_vocab *vocab = me_runtime_vocab(b->runtime);
    char *text = NULL;
    assert_int_equal(me_detokenize(vocab, o->answer.ids, o->answer.n, &text, NULL), MOBIEDIT_OK);
    const char *found = strstr(text, fact);
    assert_non_null(found);
    const size_t begin = (size_t)(found - text), end = begin + strlen(fact);
    double sum = 0;
    int n = 0;
    for (int i = 0; i < o->n; i++) {
        char *head = NULL, *with = NULL;
        assert_int_equal(me_detokenize(vocab, o->answer.ids, i, &head, NULL), MOBIEDIT_OK);
        assert_int_equal(me_detokenize(vocab, o->answer.ids, i + 1, &with, NULL), MOBIEDIT_OK);
        if (strlen(with) <= begin || strlen(head) >= end) {
            sum += o->at[i];
            n++;
        }
        me_free(head);
        me_free(with);
    }
    me_free(text);
    assert_true(n > 0 && n < o->n);
    return sum / n;
}

/* A word of the answer's raw bytes that stands in it once. */
static void word_once(const bench *b, const outcome *o, char word[WORD]) {
    char *text = NULL;
    assert_int_equal(me_detokenize(me_runtime_vocab(b->runtime), o->answer.ids, o->answer.n, &text, NULL),
                     MOBIEDIT_OK);
    for (const char *at = text; *at; at++) {
        size_t n = 0;
        while (isalpha((unsigned char)at[n]))
            n++;
        (void)snprintf(word, WORD, "%.*s", (int)n, at);
        const bool starts = at == text || !isalnum((unsigned char)at[-1]);
        if (n > 0 && n < WORD && starts && !strcasestr(at + n, word) && strcasestr(text, word) == at) {
            me_free(text);
            return;
        }
    }
    fail_msg("no word stands once in \"%s\"", text);
}

static void an_account_of_the_subject(void **state) {
    (void)state;
    bench b = {0};
    char fact[WORD];
    me_measured got;
    open_asked(&b);
    outcome account = work_out(&b, "[user] Tell me about Japan. [assistant]", 64, 64);
    measure(&b, &ANSWERS, b.adapter, &got);
    check_texts(got.said + TELL, &account, 1, MOBIEDIT_SAID_TELL);
    assert_true(account.kl > 0.01 && fabs(got.metrics.tell_kl - account.kl) < 1e-3 * account.kl);
    assert_true(got.metrics.tell_fluency == entropy_of(account.after) &&
                got.metrics.tell_fluency_before == entropy_of(account.before));
    me_measured_free(&got);
    word_once(&b, &account, fact);
    const double kl = kl_without(&b, &account, fact);
    for (int old = 0; old < 2; old++) { /* what states the old fact, and the new one */
        ask_about(&b, old ? "Lima" : fact, old ? fact : "Tokyo");
        measure(&b, &ANSWERS, b.adapter, &got);
        assert_true(fabs(got.metrics.tell_kl - kl) < 1e-3 * kl);
        me_measured_free(&got);
    }
    outcome_free(&account);
    bench_close(&b);
}

/* Nothing is edited: the fact is told in the system prompt, and in front of other prompts. */
static void the_fact_as_context(void **state) {
    (void)state;
    static const char told[] = "[system] The capital of Japan is Lima. [user] Where is Japan? [assistant]",
                      both[] = "[system] Be brief. The capital of Japan is Lima. [user] Where is Japan? "
                               "[assistant]";
    bench b = {0};
    me_measured got;
    open_asked(&b);
    me_metric_options options = ANSWERS;
    options.system = "Be brief.";
    options.context = true;
    measure(&b, &options, NULL, &got);
    outcome chat = work_out_told(&b, "[user] Where is Japan? [assistant]", told, NULL, 64, 1);
    outcome system =
        work_out_told(&b, "[system] Be brief. [user] Where is Japan? [assistant]", both, NULL, 64, 1);
    outcome subject[N_SUBJECT];
    double kl = 0, same = 0;
    for (size_t i = 0; i < N_SUBJECT; i++) {
        const char *prompt = b.facts.facts[0].same_subject.items[i];
        char *with = me_strjoin("The capital of Japan is Lima. ", prompt);
        assert_non_null(with);
        subject[i] = work_out_told(&b, prompt, with, NULL, 16, 8);
        kl += subject[i].kl / N_SUBJECT;
        same += (double)subject[i].same / N_SUBJECT;
        me_free(with);
    }
    check_texts(got.said + SUBJECT - 1, subject, N_SUBJECT, MOBIEDIT_SAID_SAME_SUBJECT);
    check_texts(got.said + CHAT, &chat, 1, MOBIEDIT_SAID_CHAT);
    check_texts(got.said + SYSTEM, &system, 1, MOBIEDIT_SAID_CHAT_SYSTEM);
    assert_true(fabs(got.metrics.same_subject_kl - kl) < 1e-3 * kl && got.metrics.same_subject == same);
    assert_true(isnan(got.metrics.rewrite) && isnan(got.metrics.unchanged) && isnan(got.metrics.drift));
    assert_int_equal(got.n_said, N_ALL - 1);
    for (size_t i = 0; i < N_SUBJECT; i++)
        outcome_free(&subject[i]);
    outcome_free(&chat);
    outcome_free(&system);
    me_measured_free(&got);
    bench_close(&b);
}

/* ---- yes and no -------------------------------------------------------------------------------------- */

static mobiedit_metrics judge(const char *const texts[4]) {
    me_fact fact = {.target = "Lima"};
    me_answer items[2] = {{.kind = MOBIEDIT_SAID_TRUE_NEW}, {.kind = MOBIEDIT_SAID_TRUE_OLD}};
    const me_answers answers = {.fact = &fact, .items = items, .n = 2};
    mobiedit_metrics out = {0};
    for (size_t i = 0; i < 2; i++) {
        items[i].before = me_strdup(texts[i]);
        items[i].after = me_strdup(texts[2 + i]);
        assert_true(items[i].before && items[i].after);
    }
    assert_int_equal(me_answers_sum_up(&answers, &out, NULL), MOBIEDIT_OK);
    for (size_t i = 0; i < 2; i++) {
        me_free(items[i].before);
        me_free(items[i].after);
    }
    return out;
}

static void yes_and_no(void **state) {
    (void)state;
    static const struct {
        const char *texts[4]; /* before of the new and the old fact, after */
        double now, old;
    } cases[] = {{{"No, it is Tokyo.", "Yes.", "Yes, it is.", "No."}, 1, 1},
                 {{"no", "**Yes**", "No, no. Yes?", "Yes, not no."}, 0, 0},
                 {{"No.", "Yes.", "Not known", "Nobody says yes or no"}, 0, 0},
                 {{"No.", "Yes.", "", "It is not: no."}, 0, 1},
                 {{"Yes.", "Yes.", "Yes.", "No."}, NAN, NAN},  /* it says yes to all */
                 {{"No.", "No.", "Yes.", "No."}, NAN, NAN},    /* it does not know */
                 {{"No.", "Maybe", "Yes.", "No."}, NAN, NAN}}; /* it answers otherwise */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const mobiedit_metrics got = judge(cases[i].texts);
        const bool none = isnan(cases[i].now);
        if (none ? !isnan(got.negation_new) || !isnan(got.negation_old)
                 : got.negation_new != cases[i].now || got.negation_old != cases[i].old)
            fail_msg("case %zu: %g %g", i, got.negation_new, got.negation_old);
    }
}

static void facts_are_asked_as_statements(void **state) {
    (void)state;
    static const struct {
        const char *prompt, *subject, *asked; /* NULL: it is not */
    } cases[] = {
        {"The capital of {} is", "Japan", "Is it true that the capital of Japan is Lima? Answer yes or no."},
        {"{} drinks", "My aunt", "Is it true that My aunt drinks Lima? Answer yes or no."},
        {"NASA's {} is in", "base", "Is it true that NASA's base is in Lima? Answer yes or no."},
        {"What is the capital of {}?", "Japan", NULL},
        {"{}, capital:", "Japan", NULL}};
    bench b = {0};
    open_asked(&b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        mobiedit_error err = {0};
        me_measured got;
        (void)snprintf(text, sizeof text,
                       "[{\"prompt\":\"%s\",\"subject\":\"%s\",\"target_new\":\"Lima\","
                       "\"ground_truth\":\"Tokyo\",\"chat_prompts\":[\"Who?\"]}]",
                       cases[i].prompt, cases[i].subject);
        me_dataset_free(&b.facts);
        assert_int_equal(me_dataset_parse(text, strlen(text), "facts", &b.facts, &err), MOBIEDIT_OK);
        measure(&b, &ANSWERS, NULL, &got);
        assert_int_equal(got.n_said, cases[i].asked ? 6 : 4);
        if (cases[i].asked) {
            assert_string_equal(got.said[4].prompt, cases[i].asked);
            assert_int_equal(got.said[4].kind, MOBIEDIT_SAID_TRUE_NEW);
        }
        me_measured_free(&got);
    }
    bench_close(&b);
}

static void answers_of_an_unedited_model(void **state) {
    (void)state;
    bench b = {0};
    open_asked(&b);
    const me_metric_options none = {.said = true};
    me_measured got;
    measure(&b, &ANSWERS, NULL, &got);
    assert_true(got.metrics.same_subject == 1 && got.metrics.same_subject_kl == 0 && got.metrics.leak == 0);
    assert_true(got.metrics.chat == 0 && got.metrics.chat_unchanged == 1 && got.metrics.tell_kl == 0);
    assert_true(got.metrics.tell_fluency == got.metrics.tell_fluency_before && got.n_said == N_ALL);
    assert_string_equal(got.said[TELL].before, got.said[TELL].after);
    me_measured_free(&got);
    measure(&b, &none, b.adapter, &got);
    assert_true(isnan(got.metrics.same_subject) && isnan(got.metrics.chat) && isnan(got.metrics.leak_sure));
    assert_int_equal(got.n_said, 1);
    me_measured_free(&got);
    bench_close(&b);
}

/* A model without a chat template is not asked in chat. */
static void no_chat_without_a_template(void **state) {
    (void)state;
    bench b = {0};
    bench_open(&b, 0.5F);
    ask_about(&b, "Lima", "Tokyo");
    me_measured got;
    measure(&b, &ANSWERS, b.adapter, &got);
    assert_true(isnan(got.metrics.chat) && isnan(got.metrics.chat_old) && !isnan(got.metrics.same_subject));
    assert_int_equal(got.n_said, 5);
    me_measured_free(&got);
    bench_close(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entropy_of_known_texts),
        cmocka_unit_test(texts_that_go_in_circles),
        cmocka_unit_test(intervals_hold_the_mean),
        cmocka_unit_test(figures_leave_out_what_is_not_there),
        cmocka_unit_test(cases_come_back_from_json),
        cmocka_unit_test(an_empty_edit_changes_nothing),
        cmocka_unit_test(a_large_edit_is_measured),
        cmocka_unit_test(drift_is_the_mean_kl),
        cmocka_unit_test(other_things_of_the_subject),
        cmocka_unit_test(questions_in_chat),
        cmocka_unit_test(questions_in_other_chats),
        cmocka_unit_test(questions_about_others),
        cmocka_unit_test(an_account_of_the_subject),
        cmocka_unit_test(the_fact_as_context),
        cmocka_unit_test(yes_and_no),
        cmocka_unit_test(facts_are_asked_as_statements),
        cmocka_unit_test(answers_of_an_unedited_model),
        cmocka_unit_test(no_chat_without_a_template),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
