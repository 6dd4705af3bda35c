/* Prints text for people so that nothing in it commands the terminal. */
#include "output.h"

#include "base/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The code point of the n bytes of a well-formed character. */
static uint32_t code_point(const unsigned char *c, size_t n) {
    if (n == 1) return c[0];
    uint32_t code = c[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++)
        code = code << 6 | (c[i] & 0x3Fu);
    return code;
}

static bool is_control(uint32_t code) {
    return code < 0x20 || (code >= 0x7F && code < 0xA0);
}

/* Marks that make what follows run the other way. */
static bool turns_text(uint32_t code) {
    return (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

static void put_escaped(FILE *out, output_kind kind, uint32_t code) {
    if (kind == OUTPUT_JSON || code > 0xFF)
        (void)fprintf(out, "\\u%04x", (unsigned)code);
    else if (code == '\n')
        (void)fputs("\\n", out);
    else if (code == '\t')
        (void)fputs("\\t", out);
    else
        (void)fprintf(out, "\\x%02x", (unsigned)code);
}

void output_put(FILE *out, output_kind kind, const char *text) {
    while (*text) {
        const unsigned char *bytes = (const unsigned char *)text;
        const size_t n = me_utf8_length(text);
        const uint32_t code = n ? code_point(bytes, n) : bytes[0];
        const bool stays = kind != OUTPUT_LINE && (code == '\n' || code == '\t');
        if (n == 0)
            put_escaped(out, kind, kind == OUTPUT_JSON ? 0xFFFD : code);
        else if (!stays && (is_control(code) || turns_text(code)))
            put_escaped(out, kind, code);
        else
            (void)fwrite(text, 1, n, out);
        text += n ? n : 1;
    }
}

void output_part(FILE *out, const char *format, va_list args) {
    char buffer[1024], *text = buffer;
    va_list again;
    va_copy(again, args);
    const int n = vsnprintf(buffer, sizeof buffer, format, args);
    if (n >= (int)sizeof buffer && (text = malloc((size_t)n + 1)))
        (void)vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    output_put(out, OUTPUT_LINE, text ? text : buffer); /* without memory: its beginning */
    if (text != buffer) free(text);
}

void print_part(const char *format, ...) {
    va_list args;
    va_start(args, format);
    output_part(stdout, format, args);
    va_end(args);
}

void print_line(const char *format, ...) {
    va_list args;
    va_start(args, format);
    output_part(stdout, format, args);
    va_end(args);
    print_newline();
}

void print_newline(void) {
    (void)fputc('\n', stdout);
}
