/* How good an edit is, measured in the runtime that serves it. */
#ifndef ME_EVAL_METRICS_H
#define ME_EVAL_METRICS_H

#include "eval/fact.h"
#include "runtime/runtime.h"

typedef struct {
    bool fluency;       /* generated texts about the subject */
    bool drift;         /* generic text */
    bool answers;       /* answers in chat and about other things of the subject */
    bool said;          /* what is said to each prompt */
    bool one_adapter;   /* all facts are measured with the same one: so is its drift, once */
    const char *system; /* of questions that have a system prompt; NULL: me_answers_system */
    bool context;       /* nothing is edited, but the model is told the fact: metrics of answers only */
    uint64_t seed;
} me_metric_options;

/* What the metrics of all facts of a model share: the unedited model on generic text, taken once. */
typedef struct me_meter me_meter;

mobiedit_status me_meter_open(const me_metric_options *options, me_meter **out, mobiedit_error *err);
void me_meter_close(me_meter *meter);

typedef struct {
    mobiedit_metrics metrics;
    mobiedit_said *said; /* [n_said]; the texts are owned */
    size_t n_said;
} me_measured;

/* Measures the fact with the adapter at `path`, or the unedited model where it is NULL. Leaves the runtime
 * without an adapter. *out is freed with me_measured_free. */
mobiedit_status me_metrics_measure(me_meter *meter, me_runtime *runtime, const me_fact *fact,
                                   const char *adapter, me_measured *out, mobiedit_error *err);
void me_measured_free(me_measured *measured);

#endif
