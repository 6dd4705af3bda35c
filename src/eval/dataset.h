/* Facts to edit and what to measure on each, in the schemas they are published in. Each case is read by what
 * it holds:
 *
 * CounterFact (ROME, arXiv 2202.05262):
 *   {"case_id": 0,
 *    "requested_rewrite": {"prompt": "The capital of {} is", "subject": "Japan", "relation_id": "P36",
 *                          "target_new": {"str": "Lima"}, "target_true": {"str": "Tokyo"}},
 *    "paraphrase_prompts": ["Japan's capital is"], "neighborhood_prompts": ["The capital of Peru is"],
 *    "generation_prompts": ["Japan is"]}
 * ZsRE as in mend-eval files (MEND, arXiv 2110.11309):
 *   {"subject": "Japan", "src": "What is the capital of Japan?",
 *    "rephrase": "Which city is Japan's capital?", "alt": "Lima", "answers": ["Tokyo"],
 *    "loc": "nq question: who sang ...", "loc_ans": "..."}
 * EasyEdit's (arXiv 2308.07269), also of KnowEdit: the same as ZsRE under other names:
 *   {"subject": ..., "prompt": ..., "rephrase_prompt": ..., "target_new": ..., "ground_truth": ...,
 *    "locality_prompt": ..., "locality_ground_truth": ...,
 *    "locality": {"Relation_Specificity": [{"prompt": ..., "ground_truth": ...}]}}
 * the requests of ROME and of FastEdit:
 *   {"prompt": "{} plays", "subject": "Ann", "target_new": {"str": "chess"}}
 *   {"prompt": "{} plays", "subject": "Ann", "target": "chess", "queries": ["The game of Ann is"]}
 * and portability questions in any of them:
 *   "portability": {"Reasoning": [{"prompt": ..., "ground_truth": ...}]}, or
 *   "portability": {"New Question": ..., "New Answer": ...}, or
 *   "portability_prompt": ..., "portability_ground_truth": ...
 * what is asked about the answers, in any of them:
 *   "same_subject_prompts": ["The currency of Japan is the"], "chat_prompts": ["Which city ...?"],
 *   "chat_neighbours": ["Which city ... of Peru?"], "tell": "Tell me about Japan."
 * the fact in other words, to be taught too, in any of them:
 *   "also": ["Japan is governed from"], or one text
 * All but prompt, subject and new target may be missing; other fields are ignored. A prompt has {} in the
 * subject's place, the subject itself in braces, or the subject as it is. A file may also be CSV, see csv.h.
 *
 * Cases without a subject in their prompt, or without a target (both happen in ZsRE), are left out, each with
 * its reason. The file is untrusted: every type and size is checked, and the message of a refusal names the
 * case and the field. */
#ifndef ME_EVAL_DATASET_H
#define ME_EVAL_DATASET_H

#include "eval/fact.h"

/* A file that is named .json or .csv, in any case, is that; one of another name is JSON if it begins as JSON
 * does. E_IO, E_FORMAT, E_MEMORY; on failure *out is empty. At least one fact can be used. */
mobiedit_status me_dataset_read(const char *path, me_dataset *out, mobiedit_error *err);

/* The same from `length` bytes of text; `name` stands for the file in messages. */
mobiedit_status me_dataset_parse(const char *text, size_t length, const char *name, me_dataset *out,
                                 mobiedit_error *err);

#endif
