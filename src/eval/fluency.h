/* How varied a text is, and whether it is caught in a loop. */
#ifndef ME_EVAL_FLUENCY_H
#define ME_EVAL_FLUENCY_H

#include "base/error.h"

#include <stdbool.h>

/* The n-gram entropy of ROME (arXiv 2202.05262, appendix): bits, (2/3 H2 + 4/3 H3) / 2, where H2 and H3 are
 * the entropies of the distributions of the text's bigrams and trigrams of words. Words are runs of letters,
 * digits and bytes past ASCII; other characters but white space are words of their own. A text that repeats
 * itself comes out low. 0 where there are no such n-grams. */
mobiedit_status me_ngram_entropy(const char *text, double *bits, mobiedit_error *err);

/* Whether the text repeats itself: three such words in a row occur five times. (Three
 * times they may in good text.) */
mobiedit_status me_repeats_itself(const char *text, bool *repeats, mobiedit_error *err);

#endif
