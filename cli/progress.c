/* The progress line: stage, share done, time left. */
#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include "base/usage.h"
#include "command.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

void progress_start(progress_line *line, bool quiet, int total) {
    *line =
        (progress_line){.on = !quiet && isatty(STDERR_FILENO), .total = total, .started = me_wall_seconds()};
}

void progress_case(progress_line *line, int done, int total, bool timed) {
    progress_clear(line);
    line->done = done;
    line->total = total;
    line->timed += timed;
}

/* By the cases so far; nothing before the first. */
static void print_time_left(const progress_line *line) {
    if (line->timed == 0) return;
    const double a_case = (me_wall_seconds() - line->started) / line->timed;
    const double left = a_case * (line->total - line->done);
    if (left < 100)
        (void)fprintf(stderr, "about %.0f s left  ", left);
    else
        (void)fprintf(stderr, "about %.0f min left  ", left / 60);
}

bool progress_prompt(progress_line *line, int done, int total) {
    progress_case(line, done, total, true);
    if (line->on) {
        (void)fprintf(stderr, "\r\033[Kprompt %d of %d  ", done, total);
        print_time_left(line);
        (void)fflush(stderr);
        line->shown = true;
    }
    return !interrupted();
}

static const char *stage_name(mobiedit_stage stage) {
    switch (stage) {
    case MOBIEDIT_STAGE_PREPARE:
        return "preparing";
    case MOBIEDIT_STAGE_SOLVE:
        return "solving";
    case MOBIEDIT_STAGE_KEY:
        return "key";
    case MOBIEDIT_STAGE_VERIFY:
        return "verifying";
    }
    return "working";
}

static void print_line(const progress_line *line, const mobiedit_progress *now) {
    (void)fputs("\r\033[K", stderr);
    if (line->total) {
        (void)fprintf(stderr, "case %d of %d  ", line->done + 1, line->total);
        print_time_left(line);
    }
    (void)fprintf(stderr, "%-9s", stage_name(now->stage));
    if (now->layer >= 0) (void)fprintf(stderr, "  layer %d", now->layer);
    if (!isnan(now->loss))
        (void)fprintf(stderr, "  round %d  loss %.3f  said by %d of %d", now->round, (double)now->loss,
                      now->carriers_say, now->carriers);
    (void)fprintf(stderr, "  %zu evaluations  %.1f s", now->evaluations, now->seconds);
    (void)fflush(stderr);
}

bool progress_show(void *user, const mobiedit_progress *now) {
    progress_line *line = user;
    if (line->on) {
        print_line(line, now);
        line->shown = true;
    }
    return !interrupted();
}

void progress_clear(progress_line *line) {
    if (line->shown) {
        (void)fputs("\r\033[K", stderr);
        (void)fflush(stderr);
    }
    line->shown = false;
}
