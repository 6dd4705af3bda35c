/* What goes to stdout and to the terminal. Prompts, targets, paths, what a model or a server says: all of it
 * comes from elsewhere, and none of it may command a terminal. So text for people is printed by these
 * functions alone. */
#ifndef CLI_OUTPUT_H
#define CLI_OUTPUT_H

#include "mobiedit.h"

#include <stdarg.h>
#include <stdio.h>

/* Which characters stay as they are, and how the others are written: control characters (also those of C1),
 * those that turn the direction of text around, and bytes that are not UTF-8. */
typedef enum {
    OUTPUT_LINE, /* \n, \x1b, \u202e: a newline would begin a line that looks like ours */
    OUTPUT_TEXT, /* the same, but newlines and tabs stay */
    OUTPUT_JSON, /* of a JSON text: newlines and tabs stay, the others as \u001b, which means the same */
} output_kind;
void output_put(FILE *out, output_kind kind, const char *text);

/* One line on stdout: the formatted text as OUTPUT_LINE, and a newline. */
void print_line(const char *format, ...) MOBIEDIT_PRINTF(1, 2);

/* A part of such a line, which print_newline ends. */
void print_part(const char *format, ...) MOBIEDIT_PRINTF(1, 2);
void print_newline(void);

/* The same on any stream, with its arguments as a list. */
void output_part(FILE *out, const char *format, va_list args);

#endif
