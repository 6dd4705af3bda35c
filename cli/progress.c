/* The progress line: stage, share done, time left. */
#define _DEFAULT_SOURCE
#include "progress.h"

#include "base/usage.h"
#include "command.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char CLEAR[] = "\r\033[K";

void progress_start(progress_line *line, bool quiet) {
    *line = (progress_line){.on = !quiet && isatty(STDERR_FILENO), .started = me_wall_seconds()};
}

void progress_case(progress_line *line, int done, int total, bool timed) {
    progress_clear(line);
    line->done = done;
    line->total = total;
    line->timed += timed;
}

/* ---- the line ---------------------------------------------------------------------------------------- */

/* The text of a line, ASCII only, as far as it fits. */
typedef struct {
    char text[256];
    size_t n;
} line_text;

static void add(line_text *out, const char *format, ...) MOBIEDIT_PRINTF(2, 3);
static void add(line_text *out, const char *format, ...) {
    const size_t room = sizeof out->text - out->n;
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(out->text + out->n, room, format, args);
    va_end(args);
    if (n > 0) out->n += (size_t)n < room ? (size_t)n : room - 1;
}

int terminal_columns(int fd) {
    enum { USUAL = 80 };
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : USUAL;
}

/* The last column stays free: some terminals wrap as soon as it is taken. */
static void put(progress_line *line, const line_text *text) {
    const int room = terminal_columns(STDERR_FILENO) - 1;
    (void)fprintf(stderr, "%s%.*s", CLEAR, room, text->text);
    (void)fflush(stderr);
    line->shown = true;
}

void progress_clear(progress_line *line) {
    if (line->shown) {
        (void)fputs(CLEAR, stderr);
        (void)fflush(stderr);
    }
    line->shown = false;
}

/* ---- what it says ------------------------------------------------------------------------------------ */

/* By the cases so far; nothing before the first. */
static void add_time_left(line_text *out, const progress_line *line) {
    if (line->timed == 0) return;
    const double a_case = (me_wall_seconds() - line->started) / line->timed;
    const double left = a_case * (line->total - line->done);
    if (left < 100)
        add(out, "about %.0f s left  ", left);
    else
        add(out, "about %.0f min left  ", left / 60);
}

bool progress_prompt(progress_line *line, int done, int total) {
    progress_case(line, done, total, true);
    if (line->on) {
        line_text text = {0};
        add(&text, "prompt %d of %d  ", done, total);
        add_time_left(&text, line);
        put(line, &text);
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

/* After the last case, what still goes on is about all of them. */
static void add_progress(line_text *out, const progress_line *line, const mobiedit_progress *now) {
    if (line->done < line->total) {
        add(out, "case %d of %d  ", line->done + 1, line->total);
        add_time_left(out, line);
    }
    add(out, "%-9s", stage_name(now->stage));
    if (now->layer >= 0) add(out, "  layer %d", now->layer);
    if (!isnan(now->loss))
        add(out, "  round %d  loss %.3f  said by %d of %d", now->round, (double)now->loss, now->carriers_say,
            now->carriers);
    add(out, "  %zu evaluations  %.1f s", now->evaluations, now->seconds);
}

bool progress_show(void *user, const mobiedit_progress *now) {
    progress_line *line = user;
    if (line->on) {
        line_text text = {0};
        add_progress(&text, line, now);
        put(line, &text);
    }
    return !interrupted();
}
