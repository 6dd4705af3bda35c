/* What is measured once of a model, by forward passes: how a delta changes the final hidden vectors of other
 * prompts of each kind, which layer edits are best made at, text that the model generates, and keys. What an
 * edit's solver takes for its own prompt's answers until it has probed them. This is the data;
 * edit/measure.h and edit/trials.h fill it. */
#ifndef ME_MODEL_CALIBRATION_H
#define ME_MODEL_CALIBRATION_H

#include "model/model.h"

/* Kinds of carriers: ME_KINDS of edit/carriers.h. */
enum { ME_CALIBRATION_KINDS = 5 };
/* A prompt measures every ME_CALIBRATION_BLOCKS-th dimension only, prompts in turns: a mean over fewer
 * prompts is as good a guess, at a part of the cost. */
enum { ME_CALIBRATION_BLOCKS = 2 };
/* So many layers further up or down it still is a guess: what a layer adds to the residual is little. */
enum { ME_CALIBRATION_REACH = 3 };
/* Texts that the model writes itself, and tokens of each at most. */
enum { ME_CALIBRATION_TEXTS = 96, ME_CALIBRATION_TEXT_TOKENS = 48, ME_NO_TOKEN = -1 };

/* Layers that are tried: the usual one, and two to each side of it. Facts that are edited at each. */
enum { ME_LAYER_CANDIDATES = MOBIEDIT_MAX_LAYER_TRIALS, ME_TRIAL_FACTS = 8 };

/* A trial is a built-in fact edited at a layer; its loss is that of another wording of the fact, which the
 * solver has not seen, in nats a token of the target, with what the edit's neuron gives there. Trials are
 * made fact by fact. */
typedef struct {
    int layers[ME_LAYER_CANDIDATES]; /* ascending */
    int n_layers;                    /* 0: no trials, since the layer was named */
    int usual;                       /* which of them the default layer is */
    int n_done;                      /* trials */
    /* [n_done]: fact i / n_layers at layers[i % n_layers] */
    float losses[ME_TRIAL_FACTS * ME_LAYER_CANDIDATES];
} me_layer_trials;

/* How many there are in all: none where there is nothing to choose from. */
static inline int me_layer_trials_total(const me_layer_trials *trials) {
    return trials->n_layers > 1 ? trials->n_layers * ME_TRIAL_FACTS : 0;
}

static inline int me_layer_trials_left(const me_layer_trials *trials) {
    return me_layer_trials_total(trials) - trials->n_done;
}

/* Kinds of places that edits are made at. */
enum { ME_CALIBRATION_PLACES = 2 };

/* What the MLP of a layer reads at text; NULL until it is measured. */
typedef struct {
    int layer;
    float *text; /* [n_text][d]: of all tokens of the model's own texts */
    int n_text;
    float *background; /* [n_background][d]: of all tokens of the background sentences */
    int n_background;
} me_calibration_keys;

/* J of a prompt: row j is the change of its final hidden vector at the prompt's last token
 * with a step of |v| along dimension j of delta, across that vector (its length goes
 * through the last norm) and in its lengths. */
typedef struct me_calibration {
    int layer, d;
    me_layer_trials trials; /* by which the layer was chosen, or is to be */
    int n_done, n_total;    /* prompts measured so far, and in the end */
    int counts[ME_CALIBRATION_KINDS]
              [ME_CALIBRATION_BLOCKS]; /* prompts in the means' rows j = block mod ME_CALIBRATION_BLOCKS */
    float *means;                      /* [ME_CALIBRATION_KINDS][d][d]: mean J of each kind of carrier */
    int32_t *texts; /* [n_texts][ME_CALIBRATION_TEXT_TOKENS], ME_NO_TOKEN behind the end of a shorter one */
    int n_texts;
    me_calibration_keys keys[ME_CALIBRATION_PLACES]; /* where edits are made: at the subject, at `layer`; at
                                                        the answer */
    uint64_t background_hash; /* of those sentences: tells one build's from another's */
} me_calibration;

/* Nothing measured yet: n_prompts prompts are to be, and background_hash tells the background sentences.
 * Closed with me_calibration_close (NULL is fine). */
mobiedit_status me_calibration_open(const me_model *model, int layer, int n_prompts, uint64_t background_hash,
                                    me_calibration **out, mobiedit_error *err);
void me_calibration_close(me_calibration *calibration);

/* One that was cut off has guesses of too few prompts: edits do not take them. */
static inline bool me_calibration_is_whole(const me_calibration *calibration) {
    return calibration->n_done == calibration->n_total;
}

/* Takes the first tokens of a text of n >= 1; at ME_CALIBRATION_TEXTS of them there is room for no more. */
void me_calibration_add_text(me_calibration *calibration, const int32_t *tokens, int n);

/* Tokens of a text [ME_CALIBRATION_TEXT_TOKENS]. */
static inline int me_calibration_text_length(const int32_t *text) {
    int n = 0;
    while (n < ME_CALIBRATION_TEXT_TOKENS && text[n] != ME_NO_TOKEN)
        n++;
    return n;
}

#endif
