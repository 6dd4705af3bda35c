/* One line on a terminal that is written over again and again. It is never longer than the terminal is wide
 * at that moment, because a line that wraps cannot be taken back. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "mobiedit.h"

typedef struct {
    bool on;         /* stderr is a terminal, and nobody asked for silence */
    bool shown;      /* there is a line to be cleared */
    int done, total; /* cases of an evaluation; total 0: a single edit, or not known yet */
    int timed;       /* cases of them that were run now, */
    double started;  /* since then; an arbitrary clock, seconds */
} progress_line;

void progress_start(progress_line *line, bool quiet);

/* A mobiedit_progress_fn on a progress_line: false once the command is interrupted. */
bool progress_show(void *line, const mobiedit_progress *now);

/* A case is done; `timed`: it was run now, and tells how long the others will take. */
void progress_case(progress_line *line, int done, int total, bool timed);

/* So many prompts are measured; false once the command is interrupted. */
bool progress_prompt(progress_line *line, int done, int total);

/* The width of the terminal at `fd`, asked anew each time, since it may have been resized; 80 if it is none. */
int terminal_columns(int fd);

/* Makes room for other output. */
void progress_clear(progress_line *line);

#endif
