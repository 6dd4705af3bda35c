/* Pages and plots: HTML that needs nothing beside itself, and SVG inside it. */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include "base/error.h"

#include <stdio.h>

/* Writes what `put` prints into a file that appears whole or not at all. */
typedef void (*page_fn)(FILE *out, const void *what);
mobiedit_status page_write(const char *path, page_fn put, const void *what, mobiedit_error *err);

/* Text, with what would be markup escaped; control characters but newlines are left out. */
void page_text(FILE *out, const char *text);

void page_begin(FILE *out, const char *title);
void page_end(FILE *out);

/* Of 1, 2, 5 times a power of ten, the least that makes at most `ticks` steps up to `end` > 0. */
double page_tick_step(double end, int ticks);

/* How often the n values (NaN left out) fall into each of some equal bins. */
void page_histogram(FILE *out, const char *title, const char *unit, const double *values, size_t n);

/* A bar a row with its interval, in percent: shares from 0 to 1. Rows without a value are left out. */
typedef struct {
    const char *label; /* "" is shown as "no relation" */
    double mean, low, high;
    int n;
} page_bar;
void page_bars(FILE *out, const char *title, const page_bar *bars, size_t n);

/* What is drawn for a relation that a file does not name. */
const char *page_relation(const char *name);

#endif
