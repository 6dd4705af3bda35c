#include "eval/summary.h"

#include "base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static mobiedit_status add_seconds(me_tally *tally, double seconds, mobiedit_error *err) {
    if (tally->edits == tally->capacity) {
        const int capacity = tally->capacity ? 2 * tally->capacity : 64;
        double *grown = me_calloc((size_t)capacity, sizeof *grown);
        if (!grown) return me_fail_memory(err, "the summary");
        if (tally->edits) memcpy(grown, tally->seconds, (size_t)tally->edits * sizeof *grown);
        me_free(tally->seconds);
        tally->seconds = grown;
        tally->capacity = capacity;
    }
    tally->seconds[tally->edits++] = seconds;
    return MOBIEDIT_OK;
}

mobiedit_status me_tally_add(me_tally *tally, const mobiedit_eval_case *done, mobiedit_error *err) {
    if (done->stop != MOBIEDIT_STOP_ALREADY_SAID) {
        ME_TRY(add_seconds(tally, done->seconds, err));
        tally->evaluations += (double)done->evaluations;
    }
    tally->cases++;
    tally->failed += done->status != MOBIEDIT_OK;
    tally->rewrite += done->rewrite;
    if (!isnan(done->paraphrase)) {
        tally->paraphrase += done->paraphrase;
        tally->n_paraphrase++;
    }
    if (!isnan(done->unchanged)) {
        tally->unchanged += done->unchanged;
        tally->neighbour_kl += done->neighbour_kl;
        tally->n_neighbours++;
    }
    return MOBIEDIT_OK;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int n) {
    if (n == 0) return NAN;
    qsort(values, (size_t)n, sizeof *values, ascending);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double mean(double sum, int n) {
    return n ? sum / n : NAN;
}

void me_tally_summary(me_tally *tally, mobiedit_eval_summary *out) {
    out->cases = tally->cases;
    out->failed = tally->failed;
    out->rewrite = mean(tally->rewrite, tally->cases);
    out->paraphrase = mean(tally->paraphrase, tally->n_paraphrase);
    out->unchanged = mean(tally->unchanged, tally->n_neighbours);
    out->neighbour_kl = mean(tally->neighbour_kl, tally->n_neighbours);
    out->evaluations = mean(tally->evaluations, tally->edits);
    out->seconds = median(tally->seconds, tally->edits);
}

void me_tally_free(me_tally *tally) {
    me_free(tally->seconds);
    *tally = (me_tally){0};
}
