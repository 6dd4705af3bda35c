/* The form of an edit: a neuron of the MLP that fires at the subject and is silent elsewhere.
 *
 * An MLP is a sum of neurons, down_j act(gate_j.x) (up_j.x) over its input x. An edit takes over one that the
 * model hardly uses. With two readings of x, t = left.x (1 at the subject, 0 at what must stay) and c =
 * constant.x (1 everywhere), it gives
 *     share = act(a (t - theta c)) / a * ((2 peak - theta) c - t - v) / (peak - theta)^2
 * of delta, v = veto.x (0 at the subject, see veto.h): nothing below t = theta, and 1, on a flat top, at
 * t = peak.
 *
 * Where neurons have no gate, down_j act(up_j.x), an edit takes several. They differ in their thresholds, and
 * add up to a ramp: nothing below t = theta, 1 from t = full on. With act near x above 0 and near 0 below it,
 * two do it,
 *     share = (act(a (s - theta c)) - act(a (s - full c))) / (a (full - theta)),  s = t - v / 2
 * and with act = x^2 above 0 three, whose thresholds are as far apart, h, with the weights 1, -2 and 1 over
 * 2 h^2: the second difference of x^2 is the same everywhere. Here the veto shifts the ramp, by half: what the
 * veto reads of other text is not exactly 0, and no second factor keeps it from opening the ramp.
 *
 * A product delta (x) left in the down projection, as ROME has it (arXiv 2202.05262), gives t itself
 * instead: of other text, to which no linear reading answers exactly 0, a tenth of the edit, and less than
 * all of it where the subject stands in other words. What neurons of their own are worth was shown by
 * T-Patcher (arXiv 2301.09785), which appends and trains them; here they are solved for, and replace one
 * each, so that the file's shapes stay. */
#ifndef ME_EDIT_NEURON_H
#define ME_EDIT_NEURON_H

#include "edit/edit.h"

/* How much of delta a neuron gives, for t, c and v as above. */
float me_neuron_share(me_activation activation, float t, float c, float v);

/* The same for an edit by itself where the MLP reads key [d]; *t is left.key. */
float me_neuron_share_at(me_activation activation, const me_edit_result *solved, const float *key, int d,
                         float *t);

/* 2 peak - theta: what v has to be at t = 0 for a share of 0. */
float me_neuron_ceiling(void);

/* Neurons of one layer as they are to be. Biases are not in their rows: they are taken off through the
 * constant. Of experts each gets all of these neurons, each in places of its own. So whichever a token goes
 * through, it finds them. */
typedef struct {
    int layer, n, n_experts; /* n_experts 1: none */
    int *index;              /* [n_experts][n]: which neurons they replace */
    float *gate, *up, *down; /* [n][d] each: rows of gate (NULL: there is none) and up, columns of down */
    float *constant;         /* [d]: see me_neuron_plan */
} me_neurons;

/* What n edits are made from, at one layer. */
typedef struct {
    int layer, n;
    const float *left;     /* [n][d] */
    const float *veto;     /* [n][d]; NULL: 0 */
    const float *constant; /* [d] */
    const float *delta;    /* [n][d] */
} me_neuron_plan;

/* As many of the layer's least used neurons are taken over as the edits need, from number `first` of them on.
 * E_UNSUPPORTED where the last is not among the quarter that is used least. Free with me_neurons_free. */
mobiedit_status me_neurons_make(me_session *session, const me_neuron_plan *plan, int first, me_neurons *out,
                                mobiedit_error *err);

/* A number to begin at for an edit that stands alone: adapters of different edits, attached together, would
 * spoil each other in one neuron. */
int me_neuron_of(const me_model *model, const char *prompt);
void me_neurons_free(me_neurons *neurons);

#endif
