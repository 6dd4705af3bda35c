/* Reads facts from CSV (RFC 4180) with a header. */
#include "eval/csv.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

enum { MAX_COLUMNS = 64 };

typedef struct {
    const char *name; /* of the file */
    const char *at, *end;
    size_t line; /* from 1 */
    mobiedit_error *err;
} reader;

static mobiedit_status refuse(const reader *r, const char *what) {
    return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: line %zu: %s", r->name, r->line, what);
}

/* ---- fields ------------------------------------------------------------------------------------------ */

static bool at_line_end(const reader *r) {
    return r->at == r->end || *r->at == '\n' || (*r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n');
}

static void skip_line_end(reader *r) {
    if (r->at < r->end && *r->at == '\r') r->at++;
    if (r->at < r->end) {
        r->at++;
        r->line++;
    }
}

/* A field in quotes: what is between them, doubled ones once. out has room for the rest of the text. */
static mobiedit_status read_quoted(reader *r, char *out, size_t *n) {
    const reader start = *r;
    for (r->at++; r->at < r->end; r->at++) {
        if (*r->at == '"' && !(r->at + 1 < r->end && r->at[1] == '"')) {
            r->at++;
            if (!at_line_end(r) && *r->at != ',') return refuse(r, "text behind a closing quote");
            return MOBIEDIT_OK;
        }
        r->at += *r->at == '"';
        r->line += *r->at == '\n';
        if (*n == ME_DATASET_MAX_TEXT) return refuse(&start, "a field is too long");
        out[(*n)++] = *r->at;
    }
    return refuse(&start, "a quote is not closed");
}

static mobiedit_status read_plain(reader *r, char *out, size_t *n) {
    for (; !at_line_end(r) && *r->at != ','; r->at++) {
        if (*r->at == '"') return refuse(r, "a quote inside a field that does not begin with one");
        if (*n == ME_DATASET_MAX_TEXT) return refuse(r, "a field is too long");
        out[(*n)++] = *r->at;
    }
    return MOBIEDIT_OK;
}

/* The next field of a line into out [ME_DATASET_MAX_TEXT + 1]; *last: none follows, and the line is over. */
static mobiedit_status read_field(reader *r, char *out, bool *last) {
    size_t n = 0;
    const reader start = *r;
    ME_TRY(r->at < r->end && *r->at == '"' ? read_quoted(r, out, &n) : read_plain(r, out, &n));
    out[n] = 0;
    if (strlen(out) != n || !me_utf8_valid(out)) return refuse(&start, "a field is not UTF-8 text");
    *last = at_line_end(r);
    if (*last)
        skip_line_end(r);
    else
        r->at++; /* the comma */
    return MOBIEDIT_OK;
}

/* ---- facts ------------------------------------------------------------------------------------------- */

enum { PROMPT, SUBJECT, TARGET, N_FIELDS };
static const char *const FIELDS[N_FIELDS] = {"prompt", "subject", "target"};

typedef struct {
    int column[N_FIELDS]; /* -1: there is none */
    int n;
    char *field;            /* [ME_DATASET_MAX_TEXT + 1] */
    char *values[N_FIELDS]; /* of the line at hand; NULL: empty */
} table;

static void values_free(table *t) {
    for (int i = 0; i < N_FIELDS; i++) {
        me_free(t->values[i]);
        t->values[i] = NULL;
    }
}

static mobiedit_status read_header(reader *r, table *t) {
    bool last = false;
    for (int i = 0; i < N_FIELDS; i++)
        t->column[i] = -1;
    if (r->end - r->at >= 3 && memcmp(r->at, "\xEF\xBB\xBF", 3) == 0)
        r->at += 3; /* as spreadsheets write it */
    for (; !last; t->n++) {
        if (t->n == MAX_COLUMNS) return refuse(r, "too many columns");
        ME_TRY(read_field(r, t->field, &last));
        for (int i = 0; i < N_FIELDS; i++) {
            if (strcmp(t->field, FIELDS[i]) != 0) continue;
            if (t->column[i] >= 0) return refuse(r, "a column is named twice");
            t->column[i] = t->n;
        }
    }
    if (t->column[PROMPT] < 0 || t->column[TARGET] < 0)
        return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: the header names no column %s", r->name,
                       FIELDS[t->column[PROMPT] < 0 ? PROMPT : TARGET]);
    return MOBIEDIT_OK;
}

static mobiedit_status read_line(reader *r, table *t) {
    bool last = false;
    const size_t line = r->line;
    int n = 0;
    for (; !last; n++) {
        ME_TRY(read_field(r, t->field, &last));
        for (int i = 0; i < N_FIELDS; i++) {
            if (t->column[i] != n || !t->field[0]) continue;
            t->values[i] = me_strdup(t->field);
            if (!t->values[i]) return me_fail_memory(r->err, "the facts");
        }
    }
    if (n != t->n)
        return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: line %zu: %d fields, the header has %d", r->name, line,
                       n, t->n);
    return MOBIEDIT_OK;
}

/* "The capital of {Japan} is" becomes "The capital of {} is" and "Japan". */
static mobiedit_status split_prompt(const reader *r, table *t) {
    char *prompt = t->values[PROMPT];
    char *open = strchr(prompt, '{'), *close = open ? strchr(open, '}') : NULL;
    if (!close || strchr(open + 1, '{') || strchr(close + 1, '}'))
        return refuse(r, "the prompt must have one pair of braces: {} or {subject}");
    const bool empty = close == open + 1;
    if (empty != (t->values[SUBJECT] != NULL))
        return refuse(r, empty ? "there is no subject" : "there are two subjects: in braces and in a column");
    if (empty) return MOBIEDIT_OK;
    t->values[SUBJECT] = me_strndup(open + 1, (size_t)(close - open - 1));
    if (!t->values[SUBJECT]) return me_fail_memory(r->err, "the facts");
    memmove(open + 1, close, strlen(close) + 1);
    return MOBIEDIT_OK;
}

static mobiedit_status grow(const reader *r, me_dataset *out, size_t *capacity) {
    if (out->n < *capacity) return MOBIEDIT_OK;
    if (out->n == ME_DATASET_MAX_FACTS) return refuse(r, "too many facts");
    const size_t larger = 2 * *capacity + 16;
    me_fact *facts = me_calloc(larger, sizeof *facts);
    if (!facts) return me_fail_memory(r->err, "the facts");
    if (out->n) memcpy(facts, out->facts, out->n * sizeof *facts);
    me_free(out->facts);
    out->facts = facts;
    *capacity = larger;
    return MOBIEDIT_OK;
}

static mobiedit_status read_fact(reader *r, table *t, me_dataset *out, size_t *capacity) {
    reader start = *r;
    if (at_line_end(r)) { /* an empty line */
        skip_line_end(r);
        return MOBIEDIT_OK;
    }
    ME_TRY(read_line(r, t));
    if (!t->values[PROMPT] || !t->values[TARGET])
        return refuse(&start, t->values[PROMPT] ? "there is no target" : "there is no prompt");
    ME_TRY(split_prompt(&start, t));
    ME_TRY(grow(&start, out, capacity));
    out->facts[out->n] = (me_fact){.case_id = (int64_t)out->n,
                                   .prompt = t->values[PROMPT],
                                   .subject = t->values[SUBJECT],
                                   .target = t->values[TARGET]};
    out->n++;
    memset(t->values, 0, sizeof t->values);
    return MOBIEDIT_OK;
}

static mobiedit_status read_facts(reader *r, table *t, me_dataset *out) {
    size_t capacity = 0;
    ME_TRY(read_header(r, t));
    while (r->at < r->end)
        ME_TRY(read_fact(r, t, out, &capacity));
    if (out->n == 0) return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: there are no facts", r->name);
    return MOBIEDIT_OK;
}

mobiedit_status me_csv_parse(const char *text, size_t length, const char *name, me_dataset *out,
                             mobiedit_error *err) {
    reader r = {.name = name, .at = text, .end = text + length, .line = 1, .err = err};
    table t = {.field = me_calloc(ME_DATASET_MAX_TEXT + 1, 1)};
    me_dataset read = {0};
    const mobiedit_status status = t.field ? read_facts(&r, &t, &read) : me_fail_memory(err, "the facts");
    values_free(&t);
    me_free(t.field);
    if (status != MOBIEDIT_OK) me_dataset_free(&read);
    *out = read;
    return status;
}

mobiedit_status me_csv_read(const char *path, me_dataset *out, mobiedit_error *err) {
    char *text = NULL;
    size_t size;
    *out = (me_dataset){0};
    ME_TRY(me_read_file(path, ME_DATASET_MAX_FILE, &text, &size, err));
    const mobiedit_status status = me_csv_parse(text, size, path, out, err);
    me_free(text);
    return status;
}
