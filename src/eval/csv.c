/* Reads facts from CSV (RFC 4180) with a header. */
#include "eval/csv.h"

#include "base/memory.h"
#include "base/utf8.h"
#include "eval/subject.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_COLUMNS = 64 };

typedef struct {
    const char *name; /* of the file */
    const char *at, *end;
    size_t line; /* from 1 */
    char separator;
    mobiedit_error *err;
} reader;

static mobiedit_status refuse(const reader *r, const char *what) {
    return me_fail(r->err, MOBIEDIT_E_FORMAT, "%s: line %zu: %s", r->name, r->line, what);
}

/* ---- fields ------------------------------------------------------------------------------------------ */

static bool at_line_end(const reader *r) {
    return r->at == r->end || *r->at == '\n' || *r->at == '\r';
}

static void skip_line_end(reader *r) {
    if (r->at < r->end && *r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n') r->at++;
    if (r->at < r->end) {
        r->at++;
        r->line++;
    }
}

static bool at_blank(const reader *r) {
    return r->at < r->end && (*r->at == ' ' || *r->at == '\t') && *r->at != r->separator;
}

static void skip_blanks(reader *r) {
    while (at_blank(r))
        r->at++;
}

/* A field in quotes: what is between them, doubled ones once. out has room for the rest of the text. */
static mobiedit_status read_quoted(reader *r, char *out, size_t *n) {
    const reader start = *r;
    for (r->at++; r->at < r->end; r->at++) {
        if (*r->at == '"' && !(r->at + 1 < r->end && r->at[1] == '"')) {
            r->at++;
            skip_blanks(r);
            if (!at_line_end(r) && *r->at != r->separator)
                return refuse(r, "text behind a closing quote (a quote inside a field is doubled)");
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
    for (; !at_line_end(r) && *r->at != r->separator; r->at++) {
        if (*r->at == '"')
            return refuse(r, "a quote inside a field (put the field in quotes, and double those inside)");
        if (*n == ME_DATASET_MAX_TEXT) return refuse(r, "a field is too long");
        out[(*n)++] = *r->at;
    }
    while (*n > 0 && (out[*n - 1] == ' ' || out[*n - 1] == '\t'))
        --*n;
    return MOBIEDIT_OK;
}

/* The next field of a line into out [ME_DATASET_MAX_TEXT + 1]; *last: none follows, and the line is over. */
static mobiedit_status read_field(reader *r, char *out, bool *last) {
    size_t n = 0;
    const reader start = *r;
    skip_blanks(r);
    ME_TRY(r->at < r->end && *r->at == '"' ? read_quoted(r, out, &n) : read_plain(r, out, &n));
    out[n] = 0;
    if (strlen(out) != n || !me_utf8_valid(out)) return refuse(&start, "a field is not UTF-8 text");
    *last = at_line_end(r);
    if (*last)
        skip_line_end(r);
    else
        r->at++; /* the separator */
    return MOBIEDIT_OK;
}

/* ---- lines ------------------------------------------------------------------------------------------- */

enum { PROMPT, SUBJECT, TARGET, N_FIELDS };
static const char *const FIELDS[N_FIELDS] = {"prompt", "subject", "target"};

static const char ALSO[] = "also"; /* what the names of columns with other words begin with */

typedef struct {
    int column[N_FIELDS]; /* -1: there is none */
    bool is_also[MAX_COLUMNS];
    int n;
    char *field;            /* [ME_DATASET_MAX_TEXT + 1] */
    char *values[N_FIELDS]; /* of the line at hand; NULL: empty */
    me_texts also;
    bool empty; /* the line has nothing but separators */
} table;

static void values_free(table *t) {
    for (int i = 0; i < N_FIELDS; i++) {
        me_free(t->values[i]);
        t->values[i] = NULL;
    }
    me_texts_free(&t->also);
}

/* The header's first separator outside quotes. */
static char find_separator(reader r) {
    bool quoted = false;
    for (; r.at < r.end && (quoted || !at_line_end(&r)); r.at++) {
        if (*r.at == '"') quoted = !quoted;
        if (!quoted && *r.at && strchr(",;\t", *r.at)) return *r.at;
    }
    return ',';
}

static mobiedit_status refuse_header(const reader *r, const char *missing) {
    const char shown[] = {'\'', r->separator, '\'', 0};
    return me_fail(
        r->err, MOBIEDIT_E_FORMAT,
        "%s: line 1: the header names no column %s; it needs prompt and target, and subject if the "
        "prompts have {} (columns are separated at %s)",
        r->name, missing, r->separator == '\t' ? "tabs" : shown);
}

static mobiedit_status read_header(reader *r, table *t) {
    bool last = false;
    for (int i = 0; i < N_FIELDS; i++)
        t->column[i] = -1;
    if (r->end - r->at >= 3 && memcmp(r->at, "\xEF\xBB\xBF", 3) == 0)
        r->at += 3; /* as spreadsheets write it */
    r->separator = find_separator(*r);
    for (; !last; t->n++) {
        if (t->n == MAX_COLUMNS) return refuse(r, "too many columns");
        ME_TRY(read_field(r, t->field, &last));
        me_trim(t->field);
        t->is_also[t->n] = strncasecmp(t->field, ALSO, strlen(ALSO)) == 0;
        for (int i = 0; i < N_FIELDS; i++) {
            if (strcasecmp(t->field, FIELDS[i]) != 0) continue;
            if (t->column[i] >= 0) return refuse(r, "a column is named twice");
            t->column[i] = t->n;
        }
    }
    if (t->column[PROMPT] < 0 || t->column[TARGET] < 0)
        return refuse_header(r, FIELDS[t->column[PROMPT] < 0 ? PROMPT : TARGET]);
    return MOBIEDIT_OK;
}

static mobiedit_status read_line(reader *r, table *t) {
    bool last = false;
    const size_t line = r->line;
    int n = 0;
    t->empty = true;
    for (; !last; n++) {
        ME_TRY(read_field(r, t->field, &last));
        if (t->field[0]) t->empty = false;
        for (int i = 0; i < N_FIELDS; i++) {
            if (t->column[i] != n || !t->field[0]) continue;
            t->values[i] = me_strdup(t->field);
            if (!t->values[i]) return me_fail_memory(r->err, "the facts");
        }
        if (n < MAX_COLUMNS && t->is_also[n] && t->field[0]) ME_TRY(me_texts_add(&t->also, t->field, r->err));
    }
    if (n == t->n || t->empty) return MOBIEDIT_OK;
    return me_fail(r->err, MOBIEDIT_E_FORMAT,
                   "%s: line %zu: %d fields, the header has %d (put a field that contains the separator in "
                   "quotes)",
                   r->name, line, n, t->n);
}

/* ---- facts ------------------------------------------------------------------------------------------- */

static mobiedit_status grow(const reader *r, me_dataset *out, size_t *capacity) {
    if (out->n == ME_DATASET_MAX_FACTS) return refuse(r, "too many facts");
    return me_grow(&out->facts, capacity, out->n + 1, sizeof *out->facts)
               ? MOBIEDIT_OK
               : me_fail_memory(r->err, "the facts");
}

static mobiedit_status leave_out(const reader *r, const char *why, me_dataset *out) {
    mobiedit_error text;
    (void)me_fail(&text, MOBIEDIT_E_ARGUMENT, "line %zu: %s", r->line, why);
    return me_texts_add(&out->unusable, text.message, r->err);
}

static mobiedit_status read_fact(reader *r, table *t, me_dataset *out, size_t *capacity) {
    const reader start = *r;
    mobiedit_error why = {0};
    ME_TRY(read_line(r, t));
    if (t->empty) return MOBIEDIT_OK;
    ME_TRY(grow(&start, out, capacity));
    me_fact *fact = &out->facts[out->n];
    *fact = (me_fact){.case_id = (int64_t)(out->n + out->unusable.n),
                      .prompt = t->values[PROMPT],
                      .subject = t->values[SUBJECT],
                      .target = t->values[TARGET],
                      .also = t->also};
    memset(t->values, 0, sizeof t->values);
    t->also = (me_texts){0};
    const mobiedit_status status = me_fact_settle(fact, &why);
    if (status == MOBIEDIT_OK) {
        out->n++;
        return MOBIEDIT_OK;
    }
    me_fact_free(fact);
    return status == MOBIEDIT_E_ARGUMENT ? leave_out(&start, why.message, out)
                                         : me_fail(r->err, status, "%s", why.message);
}

static mobiedit_status read_facts(reader *r, table *t, me_dataset *out) {
    size_t capacity = 0;
    ME_TRY(read_header(r, t));
    while (r->at < r->end)
        ME_TRY(read_fact(r, t, out, &capacity));
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
