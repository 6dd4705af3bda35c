/* What is measured once of a model, by forward passes: how a delta changes the final hidden vectors of other
 * prompts of each kind. What an edit's solver takes for its own prompt's answers until it has probed them. */
#ifndef ME_EDIT_CALIBRATION_H
#define ME_EDIT_CALIBRATION_H

#include "edit/edit.h"
#include "edit/problem.h"
#include "edit/trials.h"

/* A prompt measures every ME_CALIBRATION_BLOCKS-th dimension only, prompts in turns: a mean over fewer
 * prompts is as good a guess, at a part of the cost. */
enum { ME_CALIBRATION_BLOCKS = 2 };
/* So many layers further up or down it still is a guess: what a layer adds to the residual is little. */
enum { ME_CALIBRATION_REACH = 3 };
/* Texts that the model writes itself, and tokens of each at most. */
enum { ME_CALIBRATION_TEXTS = 96, ME_CALIBRATION_TEXT_TOKENS = 48, ME_NO_TOKEN = -1 };

/* J of a prompt: row j is the change of its final hidden vector at the prompt's last token with a step of |v|
 * along dimension j of delta, across that vector (its length goes through the last norm) and in its lengths.
 */
typedef struct me_calibration {
    int layer, d;
    me_layer_trials trials; /* by which the layer was chosen, or is to be */
    int n_done, n_total;    /* prompts measured so far, and in the end */
    int counts[ME_KINDS]
              [ME_CALIBRATION_BLOCKS]; /* prompts in the means' rows j = block mod ME_CALIBRATION_BLOCKS */
    float *means;                      /* [ME_KINDS][d][d]: mean J of each kind of carrier */
    int32_t *texts; /* [n_texts][ME_CALIBRATION_TEXT_TOKENS], ME_NO_TOKEN behind the end of a shorter one */
    int n_texts;
    float *text_keys; /* [n_text_keys][d]: of all their tokens, at `layer`; NULL until they are measured */
    int n_text_keys;
    float *background_keys; /* [n_background_keys][d]: of the compiled-in background sentences' tokens, at
                               `layer`; NULL until they are measured */
    int n_background_keys;
    uint64_t background_hash; /* of those sentences: tells one build's from another's */
} me_calibration;

/* Nothing measured yet. Closed with me_calibration_close (NULL is fine). */
mobiedit_status me_calibration_open(const me_model *model, int layer, me_calibration **out,
                                    mobiedit_error *err);
void me_calibration_close(me_calibration *calibration);

/* Measures its block of dimensions of the next of the built-in prompts, in all its wordings; *evaluations
 * grows by their number. n_done grows by one; at n_total there is nothing left to do. */
mobiedit_status me_calibration_measure(me_session *session, me_calibration *calibration, size_t *evaluations,
                                       mobiedit_error *err);

/* One that was cut off has guesses of too few prompts: edits do not take them. */
static inline bool me_calibration_is_whole(const me_calibration *calibration) {
    return calibration->n_done == calibration->n_total;
}

/* Takes the first tokens of a text of n >= 1; at ME_CALIBRATION_TEXTS of them there is room for no more. */
void me_calibration_add_text(me_calibration *calibration, const int32_t *tokens, int n);

/* The texts as sequences of which every token is read, in memory of their own (me_free); NULL: out of memory.
 */
me_sequence *me_calibration_text_sequences(const me_calibration *calibration);

/* Tokens of a text [ME_CALIBRATION_TEXT_TOKENS]. */
static inline int me_calibration_text_length(const int32_t *text) {
    int n = 0;
    while (n < ME_CALIBRATION_TEXT_TOKENS && text[n] != ME_NO_TOKEN)
        n++;
    return n;
}

/* Fills text_keys and background_keys, those of them that are missing. */
mobiedit_status me_calibration_measure_keys(me_session *session, me_calibration *calibration,
                                            mobiedit_error *err);

#endif
