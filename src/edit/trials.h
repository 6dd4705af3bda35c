/* Which layer of a model edits are best made at: trial edits at each of a few layers, all at the same cost.
 */
#ifndef ME_EDIT_TRIALS_H
#define ME_EDIT_TRIALS_H

#include "edit/edit.h"
#include "edit/texts.h"

/* The usual layer, and two to each side of it. */
enum { ME_LAYER_CANDIDATES = MOBIEDIT_MAX_LAYER_TRIALS };

/* A trial is a built-in fact edited at a layer; its loss is that of another wording of the fact, which the
 * solver has not seen, in nats a token of the target, with what the edit's neuron gives there. Trials are
 * made fact by fact. */
typedef struct {
    int layers[ME_LAYER_CANDIDATES]; /* ascending */
    int n_layers;                    /* 0: no trials, since the layer was named */
    int usual;                       /* which of them me_default_layer is */
    int n_done;                      /* trials */
    float losses[ME_TRIAL_FACTS *
                 ME_LAYER_CANDIDATES]; /* [n_done]: fact i / n_layers at layers[i % n_layers] */
} me_layer_trials;

/* None made yet. A model of few layers has fewer candidates, one at least. */
void me_layer_trials_begin(const me_model *model, me_layer_trials *out);

/* How many there are in all: none where there is nothing to choose from. */
static inline int me_layer_trials_total(const me_layer_trials *trials) {
    return trials->n_layers > 1 ? trials->n_layers * ME_TRIAL_FACTS : 0;
}

static inline int me_layer_trials_left(const me_layer_trials *trials) {
    return me_layer_trials_total(trials) - trials->n_done;
}

/* Makes the next trial, of which there must be one left; *evaluations grows. The session must not be
 * calibrated: that would favour the layer it was calibrated at. */
mobiedit_status me_layer_trials_step(me_session *session, me_layer_trials *trials, size_t *evaluations,
                                     mobiedit_error *err);

/* The layer with the least mean loss, if that is less than the usual one's by twice the standard error of the
 * facts' differences; else the usual one. All trials must be made. */
int me_layer_trials_choose(const me_layer_trials *trials);

/* The mean over the facts so far; NaN before the first. */
double me_layer_trials_loss(const me_layer_trials *trials, int candidate);

#endif
