/* Writes pages of HTML, with histograms and bars in SVG. */
#define _POSIX_C_SOURCE 200809L
#include "page.h"

#include "base/pending.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- files ------------------------------------------------------------------------------------------- */

mobiedit_status page_write(const char *path, page_fn put, const void *what, mobiedit_error *err) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out) return me_fail(err, MOBIEDIT_E_MEMORY, "out of memory for %s", path);
    put(out, what);
    const bool whole = ferror(out) == 0;
    if (fclose(out) != 0 || !whole) {
        free(text);
        return me_fail(err, MOBIEDIT_E_MEMORY, "out of memory for %s", path);
    }
    me_pending_file file;
    mobiedit_status status = me_pending_write(path, text, length, &file, err);
    free(text);
    if (status == MOBIEDIT_OK) status = me_pending_commit(&file, err);
    return status;
}

/* ---- HTML -------------------------------------------------------------------------------------------- */

void page_text(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '&')
            (void)fputs("&amp;", out);
        else if (*text == '<')
            (void)fputs("&lt;", out);
        else if (*text == '>')
            (void)fputs("&gt;", out);
        else if (*text == '"')
            (void)fputs("&quot;", out);
        else if (*text == '\'')
            (void)fputs("&#39;", out);
        else if ((unsigned char)*text >= ' ' || *text == '\n')
            (void)fputc(*text, out);
    }
}

void page_begin(FILE *out, const char *title) {
    (void)fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                "<meta name=\"viewport\" content=\"width=device-width\">\n<title>",
                out);
    page_text(out, title);
    (void)fputs(
        "</title>\n<style>\n"
        ":root{color-scheme:light dark;--ink:#222;--paper:#fff;--soft:#666;--line:#ddd;--fill:#1565c0;"
        "--good:#1b7f3b;--bad:#b3261e}\n"
        "@media(prefers-color-scheme:dark){:root{--ink:#e4e4e4;--paper:#17191c;--soft:#a0a4a8;--line:#3a3e43;"
        "--fill:#64a8f0;--good:#6fcf8a;--bad:#f28b82}}\n"
        "body{font:15px/1.45 sans-serif;color:var(--ink);background:var(--paper);max-width:64em;margin:2em "
        "auto;"
        "padding:0 1em}\n"
        "table{border-collapse:collapse;margin:.8em 0}\n"
        "th,td{text-align:left;vertical-align:top;padding:.2em .8em .2em 0;border-bottom:1px solid "
        "var(--line)}\n"
        "th{color:var(--soft);font-weight:normal}\ntd.n,th.n{text-align:right}\n"
        ".soft{color:var(--soft)}.good{color:var(--good)}.bad{color:var(--bad)}\n"
        "q{quotes:none;white-space:pre-wrap}summary{cursor:pointer;margin:.6em 0 .2em}\n"
        ".plots{display:flex;flex-wrap:wrap;gap:1em}svg{max-width:100%;height:auto}\n"
        "svg text{fill:var(--ink);font:12px sans-serif}svg .line{stroke:var(--line)}"
        "svg .mark{stroke:var(--ink)}svg .fill{fill:var(--fill)}\n"
        "</style>\n</head>\n<body>\n<h1>",
        out);
    page_text(out, title);
    (void)fputs("</h1>\n", out);
}

void page_end(FILE *out) {
    (void)fputs("</body>\n</html>\n", out);
}

const char *page_relation(const char *name) {
    return name && *name ? name : "no relation";
}

/* ---- plots ------------------------------------------------------------------------------------------- */

/* Pixels; a plot's area is inside the margins. */
enum { WIDTH = 440, HEIGHT = 220, LEFT = 40, RIGHT = 12, TOP = 30, BOTTOM = 40, TICKS = 6, BINS = 16 };

double page_tick_step(double end, int ticks) {
    const double rough = end / ticks, power = pow(10, floor(log10(rough)));
    const double digit = rough / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

static void begin_plot(FILE *out, const char *title, int height) {
    (void)fprintf(out, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n<title>", WIDTH,
                  height, WIDTH, height);
    page_text(out, title);
    (void)fprintf(out, "</title>\n<text x=\"%d\" y=\"18\">", 8);
    page_text(out, title);
    (void)fputs("</text>\n", out);
}

/* Bins of equal width from 0 (or the least value) on; how many counts there are. */
typedef struct {
    double begin, step;
    int counts[2 * BINS];
    int n, most;
} bins;

static bins count_bins(const double *values, size_t n) {
    bins b = {.most = 1};
    double least = 0, greatest = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) continue;
        least = fmin(least, values[i]);
        greatest = fmax(greatest, values[i]);
    }
    b.step = page_tick_step(fmax(greatest - least, 1e-9), BINS);
    b.begin = floor(least / b.step) * b.step;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) continue;
        int bin = (int)((values[i] - b.begin) / b.step);
        if (bin >= 2 * BINS) bin = 2 * BINS - 1;
        if (++b.counts[bin] > b.most) b.most = b.counts[bin];
        if (bin >= b.n) b.n = bin + 1;
    }
    return b;
}

void page_histogram(FILE *out, const char *title, const char *unit, const double *values, size_t n) {
    const bins b = count_bins(values, n);
    if (b.n == 0) return;
    const double width = (double)(WIDTH - LEFT - RIGHT) / b.n, room = HEIGHT - TOP - BOTTOM;
    const int every = 1 + b.n / TICKS;
    begin_plot(out, title, HEIGHT);
    for (int i = 0; i < b.n; i++) {
        const double height = room * b.counts[i] / b.most, x = LEFT + i * width;
        if (b.counts[i])
            (void)fprintf(
                out,
                "<rect class=\"fill\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%d "
                "from %g to %g</title></rect>\n",
                x + 0.5, HEIGHT - BOTTOM - height, width - 1, height, b.counts[i], b.begin + i * b.step,
                b.begin + (i + 1) * b.step);
        if (i % every == 0)
            (void)fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x,
                          HEIGHT - BOTTOM + 15, b.begin + i * b.step);
    }
    (void)fprintf(
        out,
        "<path class=\"line\" d=\"M%d %dH%d\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d</text>\n"
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">",
        LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, LEFT - 5, TOP + 10, b.most, (LEFT + WIDTH - RIGHT) / 2,
        HEIGHT - 8);
    page_text(out, unit);
    (void)fputs("</text>\n</svg>\n", out);
}

enum { ROW = 20, LABEL = 170 };

static void put_bar(FILE *out, const page_bar *bar, int top) {
    const double scale = WIDTH - LABEL - RIGHT, middle = top + ROW / 2.0;
    (void)fprintf(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LABEL - 6, middle + 4);
    /* Longer labels are cut between characters. */
    const char *name = page_relation(bar->label);
    char label[28];
    size_t n = strlen(name) < sizeof label ? strlen(name) : sizeof label - 1;
    while (n > 0 && ((unsigned char)name[n] & 0xC0) == 0x80)
        n--;
    (void)snprintf(label, sizeof label, "%.*s", (int)n, name);
    page_text(out, label);
    (void)fprintf(
        out,
        "</text>\n<rect class=\"fill\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\"><title>%.1f %% "
        "(%.1f to %.1f), %d cases</title></rect>\n<path class=\"mark\" d=\"M%.1f %.1fH%.1f\"/>\n",
        LABEL, top + 3, scale * bar->mean, ROW - 6, 100 * bar->mean, 100 * bar->low, 100 * bar->high, bar->n,
        LABEL + scale * bar->low, middle, LABEL + scale * bar->high);
}

void page_bars(FILE *out, const char *title, const page_bar *bars, size_t n) {
    int rows = 0;
    for (size_t i = 0; i < n; i++)
        rows += bars[i].n > 0;
    if (rows == 0) return;
    const int bottom = TOP + rows * ROW;
    begin_plot(out, title, bottom + 24);
    for (int share = 0; share <= 100; share += 25) {
        const double x = LABEL + (WIDTH - LABEL - RIGHT) * share / 100.0;
        (void)fprintf(out,
                      "<path class=\"line\" d=\"M%.1f %dV%d\"/>\n<text x=\"%.1f\" y=\"%d\" "
                      "text-anchor=\"middle\">%d</text>\n",
                      x, TOP, bottom, x, bottom + 16, share);
    }
    for (size_t i = 0, row = 0; i < n; i++)
        if (bars[i].n > 0) put_bar(out, &bars[i], TOP + ROW * (int)row++);
    (void)fputs("</svg>\n", out);
}
