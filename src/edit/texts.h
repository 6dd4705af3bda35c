/* The texts that are compiled in: neutral contexts of the subject, names of each
 * kind, and plain background sentences. */
#ifndef ME_EDIT_TEXTS_H
#define ME_EDIT_TEXTS_H

#include "model/calibration.h"

/* How many texts stand before the NULL. */
size_t me_texts_count(const char *const *texts);

/* Sentences that may stand before a prompt without changing what it asks; ended by NULL. The first ones are
 * the usual carriers, the rest is drawn from when the prefixes are refreshed. */
extern const char *const me_texts_prefixes[];

/* Other wordings of a prompt: "{}" stands for the subject, "[]" for the prompt's content words, "()" for the
 * prompt with a pronoun in the subject's place. Ended by NULL. */
enum { ME_TEXTS_WORDINGS = 4 };
extern const char *const me_texts_wordings[ME_TEXTS_WORDINGS + 1];

/* Exchanges in a chat: what the user asks, "{}" the subject, "[]" the prompt's content words; and how the
 * assistant's answer begins, "<>" the prompt itself, "()" the prompt with a pronoun for its subject. `system`
 * may be NULL, and so may what was said before: what the user asked, and the answer. Ended by one whose user is
 * NULL. */
typedef struct {
    const char *system, *user, *assistant;
    const char *asked, *answered;
} me_texts_chat;
extern const me_texts_chat me_texts_chats[];

/* The same with no answer yet: one that begins with the fact itself is to be taught, or at least known. */
extern const me_texts_chat me_texts_openings[];

/* More wordings of a prompt, "{}" and "[]" as above; ended by NULL. */
extern const char *const me_texts_askings[];

/* Exchanges about anything else of a subject. */
extern const me_texts_chat me_texts_kept_chats[];

/* Prompts about anything of a subject "{}"; ended by NULL. */
extern const char *const me_texts_kept[];

/* First words of a subject that are written small inside a sentence, in lower case; ended by NULL. */
extern const char *const me_texts_small_words[];

/* Words of English that carry no meaning of their own, in lower case; ended by NULL. */
extern const char *const me_texts_stop_words[];

/* Contexts that name a subject and say nothing of it; "{}" stands for the subject. Ended by NULL. */
extern const char *const me_texts_neutral[];

/* Prompts to calibrate with; "{}" stands for a name. Ended by NULL. */
extern const char *const me_texts_calibration[];

/* Facts to try layers with: the prompt, what it is to say, and the same in other words. */
typedef struct {
    const char *prompt, *target, *reworded;
} me_trial_fact;
extern const me_trial_fact me_texts_trials[ME_TRIAL_FACTS];

/* Well-known names of each kind (people, places, organisations, works, products, nature); ended by NULL. */
extern const char *const me_texts_names[];

/* Names that no model knows, of the same kinds: where one is asked about, it is not clear who is meant, and an
 * edit's own subject is what it may be taken for. Ended by NULL. */
extern const char *const me_texts_unknown_names[];

/* Words that a name may begin with in place of its own first one, of several kinds; ended by NULL. */
extern const char *const me_texts_first_words[];

/* Plain sentences on many matters; ended by NULL. */
extern const char *const me_texts_background[];

/* Tells one build's background sentences from another's. */
uint64_t me_texts_background_hash(void);

#endif
