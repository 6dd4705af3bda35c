/* Finds the probe basis: directions of delta that later layers read, strongest first. */
#include "edit/basis.h"

#include "base/memory.h"
#include "base/random.h"
#include "edit/carriers.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Heads that pay p next to no attention still tell a little: a floor keeps the basis of full rank. */
static const float ATTENTION_FLOOR = 1e-3F;

/* Weight of the readout directions beside all others. */
static const float READOUT_WEIGHT = 3.0F;

/* What calibration has measured weighs as much beside the attention; of that, the prompt's own words as much
 * as all other wordings together. */
static const float OWN_SHARE = 0.5F;

typedef struct {
    float *wo;      /* [d][n_head * head_dim] */
    float *wv;      /* [head_dim][d], one group, norm weights folded in */
    float *gram;    /* [head_dim][head_dim] */
    float *product; /* [head_dim][d] */
    float *readout; /* [n_readouts][d]: directions of the final hidden vector that make the target win */
    int n_readouts;
} workspace;

static void rows_to_float(const me_tensor *tensor, int64_t first, int64_t n, float *out) {
    for (int64_t i = 0; i < n; i++)
        me_tensor_row(tensor, first + i, out + i * tensor->n_in);
}

static void fold_norm(const me_tensor *norm, float *rows, int n, int d, float *scratch) {
    me_tensor_row(norm, 0, scratch);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d; j++)
            rows[(size_t)i * (size_t)d + (size_t)j] *= scratch[j];
}

/* gram += weight (W_O,h^T W_O,h + READOUT_WEIGHT sum of (W_O,h^T r)(W_O,h^T r)^T over the readouts r). */
static void add_head(const me_model *m, int h, float weight, workspace *w) {
    int d = m->d_model, hd = m->head_dim, width = m->n_head * hd;
    const float *wo = w->wo + (size_t)h * (size_t)hd;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, hd, hd, d, weight, wo, width, wo, width, 1.0F,
                w->gram, hd);
    for (int i = 0; i < w->n_readouts; i++) {
        cblas_sgemv(CblasRowMajor, CblasTrans, d, hd, 1.0F, wo, width, w->readout + (size_t)i * (size_t)d, 1,
                    0.0F, w->product, 1);
        cblas_sger(CblasRowMajor, hd, hd, READOUT_WEIGHT * weight, w->product, 1, w->product, 1, w->gram, hd);
    }
}

/* C += sum over the heads of one layer of (a_h / rms)^2 (W_O,h W_V,h)^T (W_O,h W_V,h), readouts weighted in;
 * heads of one group share W_V. */
static void add_layer(const me_model *m, const me_layer *layer, const float *attention, float rms,
                      workspace *w, float *c) {
    int d = m->d_model, hd = m->head_dim, group = m->n_head / m->n_head_kv;
    rows_to_float(&layer->wo, 0, d, w->wo);
    for (int g = 0; g < m->n_head_kv; g++) {
        rows_to_float(&layer->wv, (int64_t)g * hd, hd, w->wv);
        fold_norm(&layer->attn_norm, w->wv, hd, d, w->product);
        memset(w->gram, 0, (size_t)hd * (size_t)hd * sizeof(float));
        for (int h = g * group; h < (g + 1) * group; h++) {
            float a = attention[h] > ATTENTION_FLOOR ? attention[h] : ATTENTION_FLOOR;
            add_head(m, h, a * a / (rms * rms), w);
        }
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, hd, d, hd, 1.0F, w->gram, hd, w->wv, d, 0.0F,
                    w->product, d);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, d, d, hd, 1.0F, w->wv, d, w->product, d, 1.0F, c,
                    d);
    }
}

static int best_other(const float *logits, int n, int token) {
    int best = token == 0 ? 1 : 0;
    for (int i = 0; i < n; i++)
        if (i != token && logits[i] > logits[best]) best = i;
    return best;
}

/* readout t = norm weights o (u_target - u_best other), scaled to length sqrt(d), for each target position of
 * the bare prompt. scratch: [2][d]. */
static mobiedit_status fill_readouts(const me_problem *p, workspace *w, float *scratch, mobiedit_error *err) {
    int d = p->model->d_model;
    float *norm = scratch, *row = scratch + d, *logits = me_calloc((size_t)p->model->n_vocab, sizeof *logits);
    if (!logits) return me_fail_memory(err, "logits");
    me_tensor_row(&p->model->output_norm, 0, norm);
    mobiedit_status status = MOBIEDIT_OK;
    for (int t = 0; t < p->n_target && status == MOBIEDIT_OK; t++) {
        float *r = w->readout + (size_t)t * (size_t)d;
        status =
            p->engine->ops->logits(p->engine, p->carriers->hidden + (size_t)t * (size_t)d, 1, logits, err);
        if (status != MOBIEDIT_OK) break;
        me_tensor_row(&p->model->output, p->target[t], r);
        me_tensor_row(&p->model->output, best_other(logits, p->model->n_vocab, p->target[t]), row);
        for (int i = 0; i < d; i++)
            r[i] = (r[i] - row[i]) * norm[i];
        float length = cblas_snrm2(d, r, 1);
        if (length > 0) cblas_sscal(d, sqrtf((float)d) / length, r, 1);
    }
    me_free(logits);
    w->n_readouts = p->n_target;
    return status;
}

/* With a norm between the down projection and the residual, delta reaches the residual through that norm's
 * Jacobian at m: diag(w) / rms(m) (I - m m^T / (d rms(m)^2)). C becomes J^T C J. */
static void pull_back(const me_problem *p, float *c, float *w, float *mc) {
    int d = p->model->d_model;
    const float *m = p->carriers->values;
    me_tensor_row(&p->model->layers[p->layer].post_ffn_norm, 0, w);
    float norm2 = p->value_norm * p->value_norm;
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++)
            c[(size_t)i * (size_t)d + (size_t)j] *= w[i] * w[j];
    /* C - u m^T - m u^T + s m m^T, u = C m / |m|^2, s = m.u / |m|^2: the projection applied on both sides. */
    cblas_sgemv(CblasRowMajor, CblasNoTrans, d, d, 1.0F / norm2, c, d, m, 1, 0.0F, mc, 1);
    float s = cblas_sdot(d, m, 1, mc, 1) / norm2;
    cblas_sger(CblasRowMajor, d, d, -1.0F, mc, 1, m, 1, c, d);
    cblas_sger(CblasRowMajor, d, d, -1.0F, m, 1, mc, 1, c, d);
    cblas_sger(CblasRowMajor, d, d, s, m, 1, m, 1, c, d);
}

/* The n strongest eigenvectors of the symmetric c [d][d] (its lower triangle is
 * read; overwritten), strongest first. */
static mobiedit_status strongest(float *c, int d, int n, float *basis, mobiedit_error *err) {
    float *values = me_calloc((size_t)d, sizeof *values);
    float *vectors = me_calloc((size_t)n * (size_t)d, sizeof *vectors);
    lapack_int *support = me_calloc(2 * (size_t)d, sizeof *support), found = 0, info = -1;
    /* Column-major: each eigenvector is a contiguous run of d floats; the lower triangle by rows is the upper
     * one by columns. */
    if (values && vectors && support)
        info = LAPACKE_ssyevr(LAPACK_COL_MAJOR, 'V', 'I', 'U', d, c, d, 0, 0, d - n + 1, d, 0, &found, values,
                              vectors, d, support);
    mobiedit_status status = MOBIEDIT_OK;
    if (!values || !vectors || !support)
        status = me_fail_memory(err, "the probe basis");
    else if (info != 0 || found != n)
        status = me_fail(err, MOBIEDIT_E_NOT_SOLVED,
                         "the attention basis has no eigenvectors (LAPACK says %d)", (int)info);
    else
        for (int i = 0; i < n; i++)
            memcpy(basis + (size_t)i * (size_t)d, vectors + (size_t)(n - 1 - i) * (size_t)d,
                   (size_t)d * sizeof(float));
    me_free(values);
    me_free(vectors);
    me_free(support);
    return status;
}

static void workspace_free(workspace *w) {
    me_free(w->wo);
    me_free(w->wv);
    me_free(w->gram);
    me_free(w->product);
    me_free(w->readout);
}

static mobiedit_status workspace_alloc(const me_problem *p, workspace *w, mobiedit_error *err) {
    size_t d = (size_t)p->model->d_model, hd = (size_t)p->model->head_dim, heads = (size_t)p->model->n_head;
    /* Two rows at least: wo and product also serve as scratch for vectors of d. */
    *w = (workspace){.wo = me_calloc(d * (heads * hd > 2 ? heads * hd : 2), sizeof(float)),
                     .wv = me_calloc(hd * d, sizeof(float)),
                     .gram = me_calloc(hd * hd, sizeof(float)),
                     .product = me_calloc(hd * d, sizeof(float)),
                     .readout = me_calloc((size_t)p->n_target * d, sizeof(float))};
    if (w->wo && w->wv && w->gram && w->product && w->readout) return MOBIEDIT_OK;
    workspace_free(w);
    return me_fail_memory(err, "the probe basis");
}

/* c [d][d]: the attention's share of what is known of the directions. */
static mobiedit_status add_attention(const me_problem *p, float *c, mobiedit_error *err) {
    const me_model *m = p->model;
    workspace w;
    ME_TRY(workspace_alloc(p, &w, err));
    const mobiedit_status status = fill_readouts(p, &w, w.wo, err);
    if (status == MOBIEDIT_OK) {
        for (int i = p->layer + 1, j = 0; i < m->n_layer; i++, j++)
            if (m->layers[i].wv.data)
                add_layer(m, &m->layers[i], p->carriers->attention + (size_t)j * (size_t)m->n_head,
                          p->carriers->rms[j], &w, c);
        if (m->layers[p->layer].post_ffn_norm.data) pull_back(p, c, w.wo, w.product);
    }
    workspace_free(&w);
    return status;
}

/* c, of trace 1 then, += sum over the kinds of share J J^T, of trace 1 too: directions that move other
 * prompts' final hidden vectors on average. Only the triangle that `strongest` reads is kept. */
static void add_calibration(const me_calibration *calibration, float *c) {
    const int d = calibration->d;
    float trace = 0, shares[ME_KINDS], total = 0;
    for (size_t i = 0; i < (size_t)d; i++)
        trace += c[i * (size_t)d + i];
    for (size_t k = 0; k < ME_KINDS; k++) {
        const float *mean = calibration->means + k * (size_t)d * (size_t)d;
        shares[k] = k < ME_KIND_REWORDED ? OWN_SHARE / ME_KIND_REWORDED
                                         : (1 - OWN_SHARE) / (ME_KINDS - ME_KIND_REWORDED);
        total += shares[k] * cblas_sdot(d * d, mean, 1, mean, 1);
    }
    if (!(trace > 0) || !(total > 0)) return;
    cblas_sscal(d * d, 1 / trace, c, 1);
    for (size_t k = 0; k < ME_KINDS; k++)
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasNoTrans, d, d, shares[k] / total,
                    calibration->means + k * (size_t)d * (size_t)d, d, 1, c, d);
}

static mobiedit_status find_guesses(const me_calibration *calibration, me_basis *basis, mobiedit_error *err) {
    const int d = calibration->d, n = basis->n;
    basis->guesses = me_calloc(ME_KINDS * (size_t)n * (size_t)d, sizeof *basis->guesses);
    if (!basis->guesses) return me_fail_memory(err, "the probe basis");
    for (size_t k = 0; k < ME_KINDS; k++)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, d, d, 1, basis->directions, d,
                    calibration->means + k * (size_t)d * (size_t)d, d, 0,
                    basis->guesses + k * (size_t)n * (size_t)d, d);
    return MOBIEDIT_OK;
}

static bool of_use(const me_calibration *calibration, const me_problem *p) {
    return calibration && abs(calibration->layer - p->layer) <= ME_CALIBRATION_REACH &&
           me_calibration_is_whole(calibration);
}

mobiedit_status me_basis_draw(const me_problem *p, const me_calibration *calibration, int n, uint64_t seed,
                              me_basis *out, mobiedit_error *err) {
    const int d = p->model->d_model;
    me_random random;
    me_random_seed(&random, seed);
    *out = (me_basis){.n = n, .directions = me_calloc((size_t)n * (size_t)d, sizeof(float))};
    float *scale = me_calloc((size_t)n, sizeof *scale);
    mobiedit_status status = out->directions && scale ? MOBIEDIT_OK : me_fail_memory(err, "the probe basis");
    if (status == MOBIEDIT_OK) {
        me_random_normals(&random, out->directions, (size_t)n * (size_t)d);
        /* Q of the columns that the rows are to LAPACK. */
        lapack_int info = LAPACKE_sgeqrf(LAPACK_COL_MAJOR, d, n, out->directions, d, scale);
        if (info == 0) info = LAPACKE_sorgqr(LAPACK_COL_MAJOR, d, n, n, out->directions, d, scale);
        if (info != 0)
            status = me_fail(err, MOBIEDIT_E_NOT_SOLVED, "the random basis is singular (LAPACK says %d)",
                             (int)info);
    }
    if (status == MOBIEDIT_OK && of_use(calibration, p)) status = find_guesses(calibration, out, err);
    me_free(scale);
    if (status != MOBIEDIT_OK) me_basis_free(out);
    return status;
}

/* Whether a later layer's attention has the usual form. */
static bool has_attention(const me_problem *p) {
    for (int i = p->layer + 1; i < p->model->n_layer; i++)
        if (p->model->layers[i].wv.data) return true;
    return false;
}

mobiedit_status me_basis_find(const me_problem *p, const me_calibration *calibration, int n, me_basis *out,
                              mobiedit_error *err) {
    const size_t d = (size_t)p->model->d_model;
    const bool calibrated = of_use(calibration, p);
    if (!calibrated && !has_attention(p)) return me_basis_draw(p, NULL, n, 0, out, err);
    float *c = me_calloc(d * d, sizeof *c);
    *out = (me_basis){.n = n, .directions = me_calloc((size_t)n * d, sizeof(float))};
    mobiedit_status status =
        c && out->directions ? add_attention(p, c, err) : me_fail_memory(err, "the probe basis");
    if (status == MOBIEDIT_OK && calibrated) add_calibration(calibration, c);
    if (status == MOBIEDIT_OK) status = strongest(c, (int)d, n, out->directions, err);
    if (status == MOBIEDIT_OK && calibrated) status = find_guesses(calibration, out, err);
    me_free(c);
    if (status != MOBIEDIT_OK) me_basis_free(out);
    return status;
}

void me_basis_free(me_basis *basis) {
    me_free(basis->directions);
    me_free(basis->guesses);
    *basis = (me_basis){0};
}
