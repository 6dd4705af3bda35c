/* Writes Ollama's Modelfile: what its parser (parser/parser.go, of August 2026) reads back as it was meant. */
#include "store/modelfile.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Whether Ollama keeps every character: others than letters, marks, numbers, punctuation, symbols and the ASCII space
 * it drops without a word, and a line's end ends the value. */
static bool is_kept(const char *text) {
    for (size_t n; *text; text += n) {
        utf8proc_int32_t code = 0;
        n = me_utf8_length(text);
        if (n == 0) return false;
        (void)utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &code);
        const utf8proc_category_t category = utf8proc_category(code);
        if (code != ' ' && (category == UTF8PROC_CATEGORY_CN || category >= UTF8PROC_CATEGORY_ZS))
            return false;
    }
    return true;
}

/* Whether the two paths are written with the same folder. */
static bool in_one_folder(const char *a, const char *b) {
    const size_t n = (size_t)(me_base_name(a) - a);
    return n == (size_t)(me_base_name(b) - b) && memcmp(a, b, n) == 0;
}

/* The path behind FROM. Blanks at its ends are taken off, unless it is quoted; it begins with "/" or "./", so it is
 * never taken for a name, nor for quoted. */
static mobiedit_status model_path(const char *model, const char *path, char **out, mobiedit_error *err) {
    char *whole =
        in_one_folder(model, path) ? me_strjoin("./", me_base_name(model)) : me_absolute_path(model);
    if (!whole) return me_fail_memory(err, "the Modelfile");
    const size_t n = strlen(whole);
    mobiedit_status status = MOBIEDIT_OK;
    if (!is_kept(whole))
        status = me_fail(
            err, MOBIEDIT_E_ARGUMENT,
            "the path %s cannot be written into a Modelfile: it has a character that Ollama drops", whole);
    if (status == MOBIEDIT_OK && whole[n - 1] == ' ') {
        char *quoted = me_calloc(n + 3, 1);
        if (quoted) (void)snprintf(quoted, n + 3, "\"%s\"", whole);
        me_free(whole);
        whole = quoted;
        if (!whole) return me_fail_memory(err, "the Modelfile");
    }
    if (status == MOBIEDIT_OK)
        *out = whole;
    else
        me_free(whole);
    return status;
}

/* A token of a vocabulary that is not trusted must not write further lines. The text of "</s>" is also how HTML ends
 * what is struck through, and llama.cpp stops at the token itself in any case. */
static bool is_stop(const char *token) {
    return *token && !strchr(token, '"') && strcmp(token, "</s>") != 0 && is_kept(token);
}

static mobiedit_status add_stop(char **text, const char *token, mobiedit_error *err) {
    char line[256];
    const int n = snprintf(line, sizeof line, "PARAMETER stop \"%s\"\n", token);
    if (!is_stop(token) || n >= (int)sizeof line || strstr(*text, line)) return MOBIEDIT_OK;
    char *longer = me_strjoin(*text, line);
    if (!longer) return me_fail_memory(err, "the Modelfile");
    me_free(*text);
    *text = longer;
    return MOBIEDIT_OK;
}

static mobiedit_status add_stops(const me_vocab *vocab, char **text, mobiedit_error *err) {
    char *turn = NULL, *whole = NULL;
    mobiedit_status status = me_vocab_end_text(vocab, true, &turn, err);
    if (status == MOBIEDIT_OK) status = me_vocab_end_text(vocab, false, &whole, err);
    if (status == MOBIEDIT_OK) status = add_stop(text, turn, err);
    if (status == MOBIEDIT_OK) status = add_stop(text, whole, err);
    me_free(turn);
    me_free(whole);
    return status;
}

mobiedit_status me_modelfile_text(const me_vocab *vocab, const char *model, const char *path, char **out,
                                  mobiedit_error *err) {
    static const char head[] =
        "# For Ollama: ollama create NAME -f THIS-FILE\n"
        "# The chat template is the one in the model file: a TEMPLATE here would take its place.\n"
        "FROM ";
    char *from = NULL;
    ME_TRY(model_path(model, path, &from, err));
    const size_t size = sizeof head + strlen(from) + 1;
    char *text = me_calloc(size, 1);
    if (text) (void)snprintf(text, size, "%s%s\n", head, from);
    me_free(from);
    if (!text) return me_fail_memory(err, "the Modelfile");
    const mobiedit_status status = add_stops(vocab, &text, err);
    if (status == MOBIEDIT_OK)
        *out = text;
    else
        me_free(text);
    return status;
}
