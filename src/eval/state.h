/* The state of an evaluation in a file, so that it can go on after an end of any kind: the settings on the
 * first line, then a finished case a line, each synced to disk before the next case begins. */
#ifndef ME_EVAL_STATE_H
#define ME_EVAL_STATE_H

#include "eval/cases.h"

typedef struct me_state me_state;

/* Opens the file at `path`, or begins it. `settings` is a flat object of strings, numbers and truth values
 * that decide what a case comes out as; it is borrowed for the call. A last line that was cut short is
 * dropped. E_MISMATCH, naming the setting, where the file was begun with others; E_FORMAT where it is no such
 * file or is damaged before its last line; E_IO, also where another process has it open. */
mobiedit_status me_state_open(const char *path, const cJSON *settings, me_state **out, mobiedit_error *err);
void me_state_close(me_state *state);

/* The finished case of fact `index` of the facts, borrowed until the
 * state changes; NULL where there is none. */
const mobiedit_eval_case *me_state_find(const me_state *state, size_t index);

/* Appends a case; on return it is on disk. */
mobiedit_status me_state_add(me_state *state, size_t index, const mobiedit_eval_case *done,
                             mobiedit_error *err);

#endif
