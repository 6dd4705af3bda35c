/* The ledger's records: reading and changing them. */
#include "store/ledger_private.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

enum { MAX_KEYS = 10000, MAX_KEEPS = 1000, MAX_TEXT = 1 << 20 };

/* ---- reading records --------------------------------------------------------------------------------- */

static void free_texts(const char *const *texts, size_t n) {
    for (size_t i = 0; i < n; i++)
        me_free((void *)texts[i]);
    me_free((void *)texts);
}

static void record_free(me_record *r) {
    free_texts(r->about.keep, r->about.n_keep);
    free_texts(r->about.also, r->about.n_also);
    for (size_t i = 0; i < r->about.asides.n_others; i++) {
        me_free((void *)r->about.asides.others[i].prompt);
        me_free((void *)r->about.asides.others[i].before);
        me_free((void *)r->about.asides.others[i].after);
    }
    me_free(r->about.asides.others);
    me_free((void *)r->about.prompt);
    me_free((void *)r->about.target);
    me_free((void *)r->about.solve.solver);
    me_free((void *)r->about.before);
    me_free((void *)r->about.after);
    me_free(r->delta);
    me_free(r->keys);
}

void me_records_free(me_records *records) {
    for (int i = 0; i < records->n; i++)
        record_free(&records->items[i]);
    me_free(records->items);
    *records = (me_records){0};
}

/* Of everything that makes the adapter. key_width: floats of a key. */
static int64_t record_hash(const me_ledger *l, const me_record *r, int key_width) {
    const mobiedit_record *a = &r->about;
    XXH64_hash_t hash = XXH3_64bits(a->prompt, strlen(a->prompt) + 1);
    hash = XXH3_64bits_withSeed(a->target, strlen(a->target) + 1, hash);
    for (size_t i = 0; i < a->n_keep; i++)
        hash = XXH3_64bits_withSeed(a->keep[i], strlen(a->keep[i]) + 1, hash);
    for (size_t i = 0; i < a->n_also; i++)
        hash = XXH3_64bits_withSeed(a->also[i], strlen(a->also[i]) + 1, hash);
    hash =
        XXH3_64bits_withSeed(r->delta, (size_t)l->model->d_model * sizeof *r->delta,
                             hash + (XXH64_hash_t)a->solve.layer + ((XXH64_hash_t)a->solve.at_answer << 32));
    hash = XXH3_64bits_withSeed(r->keys, (size_t)r->n_keys * (size_t)key_width * sizeof *r->keys, hash);
    return (int64_t)hash;
}

static mobiedit_status damaged(const me_ledger *l, int64_t id, const char *what, mobiedit_error *err) {
    return me_fail(err, MOBIEDIT_E_FORMAT, "the ledger %s is damaged: edit %lld: %s", l->path, (long long)id,
                   what);
}

/* A copy of the text in a column; NULL where it is none, or not as the library makes them. */
static const char *copy_text(sqlite3_stmt *s, int column) {
    const char *text = (const char *)sqlite3_column_text(s, column);
    const int n = sqlite3_column_bytes(s, column);
    if (!text || n > MAX_TEXT || strlen(text) != (size_t)n || !me_utf8_valid(text)) return NULL;
    return me_strndup(text, (size_t)n);
}

enum {
    COLUMN_ID,
    COLUMN_PROMPT,
    COLUMN_TARGET,
    COLUMN_STATE,
    COLUMN_SUPERSEDED_BY,
    COLUMN_LAYER,
    COLUMN_AT_ANSWER,
    COLUMN_SOLVER,
    COLUMN_SEED,
    COLUMN_STOP,
    COLUMN_ROUNDS,
    COLUMN_LOSS,
    COLUMN_DELTA_RATIO,
    COLUMN_EVALUATIONS,
    COLUMN_TOKEN_PASSES,
    COLUMN_SECONDS,
    COLUMN_BEFORE,
    COLUMN_AFTER,
    COLUMN_HOLDS,
    COLUMN_CREATED,
    COLUMN_CHANGED,
    COLUMN_VERIFIED,
    COLUMN_HASH,
    COLUMN_DELTA,
    COLUMN_KEYS,
};
#define RECORD_COLUMNS                                                                                       \
    "id, prompt, target, state, superseded_by, layer, at_answer, solver, seed, stop, rounds, loss, "         \
    "delta_ratio, "                                                                                          \
    "evaluations, token_passes, seconds, before, after, holds, created, changed, verified, hash"

#define WITH_VECTORS "SELECT " RECORD_COLUMNS ", delta, keys FROM edits LEFT JOIN vectors ON edit = id"

#define CHOSEN " WHERE (?1 = 0 OR state = 0) AND (?2 = 0 OR id = ?2) ORDER BY id"

static mobiedit_status read_about(const me_ledger *l, sqlite3_stmt *s, mobiedit_record *a,
                                  mobiedit_error *err) {
    *a = (mobiedit_record){.id = sqlite3_column_int64(s, COLUMN_ID),
                           .state = (mobiedit_record_state)sqlite3_column_int(s, COLUMN_STATE),
                           .superseded_by = sqlite3_column_int64(s, COLUMN_SUPERSEDED_BY),
                           .prompt = copy_text(s, COLUMN_PROMPT),
                           .target = copy_text(s, COLUMN_TARGET),
                           .solve.layer = sqlite3_column_int(s, COLUMN_LAYER),
                           .solve.at_answer = sqlite3_column_int(s, COLUMN_AT_ANSWER) != 0,
                           .solve.solver = copy_text(s, COLUMN_SOLVER),
                           .solve.seed = (uint64_t)sqlite3_column_int64(s, COLUMN_SEED),
                           .solve.stop = (mobiedit_stop)sqlite3_column_int(s, COLUMN_STOP),
                           .solve.rounds = sqlite3_column_int(s, COLUMN_ROUNDS),
                           .solve.loss = (float)sqlite3_column_double(s, COLUMN_LOSS),
                           .solve.delta_ratio = (float)sqlite3_column_double(s, COLUMN_DELTA_RATIO),
                           .solve.evaluations = (size_t)sqlite3_column_int64(s, COLUMN_EVALUATIONS),
                           .solve.token_passes = (size_t)sqlite3_column_int64(s, COLUMN_TOKEN_PASSES),
                           .solve.seconds = sqlite3_column_double(s, COLUMN_SECONDS),
                           .before = copy_text(s, COLUMN_BEFORE),
                           .after = copy_text(s, COLUMN_AFTER),
                           .holds = sqlite3_column_int(s, COLUMN_HOLDS),
                           .created = sqlite3_column_int64(s, COLUMN_CREATED),
                           .changed = sqlite3_column_int64(s, COLUMN_CHANGED),
                           .verified = sqlite3_column_int64(s, COLUMN_VERIFIED)};
    if (!a->prompt || !a->target || !a->solve.solver || !a->before || !a->after)
        return damaged(l, a->id, "a text is missing, or is no text", err);
    if (a->state < MOBIEDIT_RECORD_ACTIVE || a->state > MOBIEDIT_RECORD_SUPERSEDED)
        return damaged(l, a->id, "it has an unknown state", err);
    if (a->solve.layer < 0 || a->solve.layer >= l->model->n_layer)
        return damaged(l, a->id, "there is no such layer", err);
    if (a->solve.stop < MOBIEDIT_STOP_SOLVED || a->solve.stop > MOBIEDIT_STOP_ALREADY_SAID)
        return damaged(l, a->id, "it ended in an unknown way", err);
    return MOBIEDIT_OK;
}

/* How many rows of `width` floats a blob may have. */
typedef struct {
    int width, least, most;
} shape;

static mobiedit_status read_floats(const me_ledger *l, sqlite3_stmt *s, int column, shape want, float **out,
                                   int *n, mobiedit_error *err) {
    const int64_t id = sqlite3_column_int64(s, COLUMN_ID);
    if (sqlite3_column_type(s, column) != SQLITE_BLOB) return damaged(l, id, "a vector is missing", err);
    const void *bytes = sqlite3_column_blob(s, column);
    const size_t size = (size_t)sqlite3_column_bytes(s, column), row = (size_t)want.width * sizeof **out;
    if (size % row != 0 || size / row < (size_t)want.least || size / row > (size_t)want.most)
        return damaged(l, id, "a vector has the wrong size", err);
    *n = (int)(size / row);
    if (size == 0) return MOBIEDIT_OK;
    if (!bytes) return me_fail_memory(err, "an edit"); /* SQLite's own way of telling */
    float *values = me_calloc(1, size);
    if (!values) return me_fail_memory(err, "an edit");
    memcpy(values, bytes, size);
    *out = values;
    for (size_t i = 0; i < size / sizeof *values; i++)
        if (!isfinite(values[i])) return damaged(l, id, "a vector is not finite", err);
    return MOBIEDIT_OK;
}

/* A list of an edit's texts: how many there are, and each in its place. */
typedef struct {
    const char *count, *list, *what;
} text_table;
static const text_table KEEPS = {"SELECT count(*) FROM keeps WHERE edit = ?",
                                 "SELECT prompt FROM keeps WHERE edit = ? ORDER BY place",
                                 "a prompt to keep"},
                        ALSO = {"SELECT count(*) FROM also WHERE edit = ?",
                                "SELECT prompt FROM also WHERE edit = ? ORDER BY place", "another wording"};

static mobiedit_status count_rows(const me_ledger *l, const char *sql, int64_t id, int64_t *n,
                                  mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(l, sql, &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    ME_TRY(me_sql_number(l, s, 0, n, err));
    return *n > MAX_KEEPS ? damaged(l, id, "it has too many prompts", err) : MOBIEDIT_OK;
}

static mobiedit_status read_texts(const me_ledger *l, const text_table *table, int64_t id,
                                  const char *const **out, size_t *n_out, mobiedit_error *err) {
    sqlite3_stmt *s;
    int64_t n;
    ME_TRY(count_rows(l, table->count, id, &n, err));
    if (n == 0) return MOBIEDIT_OK;
    const char **texts = me_calloc((size_t)n, sizeof *texts);
    if (!texts) return me_fail_memory(err, "the edits");
    *out = texts;
    ME_TRY(me_sql_prepare(l, table->list, &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    mobiedit_status status;
    bool row;
    while ((status = me_sql_step(l, s, &row, err)) == MOBIEDIT_OK && row && *n_out < (size_t)n) {
        texts[*n_out] = copy_text(s, 0);
        if (!texts[*n_out]) {
            status = me_fail(err, MOBIEDIT_E_FORMAT, "the ledger %s is damaged: edit %lld: %s is no text",
                             l->path, (long long)id, table->what);
            break;
        }
        ++*n_out;
    }
    (void)sqlite3_finalize(s);
    return status;
}

static mobiedit_status read_others(const me_ledger *l, int64_t id, mobiedit_asides *out,
                                   mobiedit_error *err) {
    sqlite3_stmt *s;
    int64_t n;
    ME_TRY(count_rows(l, "SELECT count(*) FROM others WHERE edit = ?", id, &n, err));
    if (n == 0) return MOBIEDIT_OK;
    out->others = me_calloc((size_t)n, sizeof *out->others);
    if (!out->others) return me_fail_memory(err, "the edits");
    ME_TRY(me_sql_prepare(
        l, "SELECT prompt, before, after, unchanged FROM others WHERE edit = ? ORDER BY place", &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    mobiedit_status status;
    bool row;
    while ((status = me_sql_step(l, s, &row, err)) == MOBIEDIT_OK && row && out->n_others < (size_t)n) {
        mobiedit_other *other = &out->others[out->n_others++];
        *other = (mobiedit_other){.prompt = copy_text(s, 0),
                                  .before = copy_text(s, 1),
                                  .after = copy_text(s, 2),
                                  .unchanged = sqlite3_column_int(s, 3) != 0};
        if (other->prompt && other->before && other->after) continue;
        status = damaged(l, id, "what is said of its subject is no text", err);
        break;
    }
    (void)sqlite3_finalize(s);
    return status;
}

static mobiedit_status read_asides(const me_ledger *l, int64_t id, mobiedit_asides *out,
                                   mobiedit_error *err) {
    sqlite3_stmt *s;
    int64_t said;
    ME_TRY(me_sql_prepare(l, "SELECT said FROM chats WHERE edit = ?", &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    ME_TRY(me_sql_number(l, s, -1, &said, err));
    out->chat = said < 0 ? -1 : said > 0;
    return read_others(l, id, out, err);
}

/* keys: NULL where only what is known about the record is wanted, without its vectors. */
static mobiedit_status read_record(const me_ledger *l, sqlite3_stmt *s, const shape *keys, me_record *r,
                                   mobiedit_error *err) {
    const shape delta = {.width = l->model->d_model, .least = 1, .most = 1};
    int one;
    ME_TRY(read_about(l, s, &r->about, err));
    mobiedit_record *a = &r->about;
    ME_TRY(read_texts(l, &KEEPS, a->id, &a->keep, &a->n_keep, err));
    ME_TRY(read_texts(l, &ALSO, a->id, &a->also, &a->n_also, err));
    ME_TRY(read_asides(l, a->id, &a->asides, err));
    if (!keys) return MOBIEDIT_OK;
    ME_TRY(read_floats(l, s, COLUMN_DELTA, delta, &r->delta, &one, err));
    ME_TRY(read_floats(l, s, COLUMN_KEYS, *keys, &r->keys, &r->n_keys, err));
    if (record_hash(l, r, keys->width) != sqlite3_column_int64(s, COLUMN_HASH))
        return damaged(l, r->about.id, "its content is not what was written", err);
    return MOBIEDIT_OK;
}

static mobiedit_status read_rows(const me_ledger *l, sqlite3_stmt *s, bool with_data, me_records *out,
                                 mobiedit_error *err) {
    const shape keys = {.width = l->model->d_model, .least = 1, .most = MAX_KEYS};
    size_t capacity = 0;
    for (bool row;;) {
        ME_TRY(me_sql_step(l, s, &row, err));
        if (!row) return MOBIEDIT_OK;
        if (!me_grow(&out->items, &capacity, (size_t)out->n + 1, sizeof *out->items))
            return me_fail_memory(err, "the edits");
        me_record *record = &out->items[out->n++]; /* counted first, so that one read by half is freed */
        ME_TRY(read_record(l, s, with_data ? &keys : NULL, record, err));
    }
}

mobiedit_status me_ledger_read(me_ledger *l, const me_record_query *query, me_records *out,
                               mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(
        l, query->with_data ? WITH_VECTORS CHOSEN : "SELECT " RECORD_COLUMNS " FROM edits" CHOSEN, &s, err));
    (void)sqlite3_bind_int(s, 1, query->active);
    (void)sqlite3_bind_int64(s, 2, query->id);
    me_records records = {0};
    const mobiedit_status status = read_rows(l, s, query->with_data, &records, err);
    (void)sqlite3_finalize(s);
    if (status != MOBIEDIT_OK) me_records_free(&records);
    *out = records;
    return status;
}

mobiedit_status me_ledger_generation(me_ledger *l, int64_t *out, mobiedit_error *err) {
    return me_sql_query_number(l, "SELECT value FROM about WHERE name = 'generation'", 0, out, err);
}

mobiedit_status me_ledger_find(me_ledger *l, const char *prompt, const char *target, int64_t *id,
                               mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(
        l,
        target ? "SELECT id FROM edits WHERE prompt = ? AND target = ? ORDER BY state <> 0, id DESC"
               : "SELECT id FROM edits WHERE prompt = ? AND state = 0",
        &s, err));
    me_sql_bind_text(s, 1, prompt);
    if (target) me_sql_bind_text(s, 2, target);
    return me_sql_number(l, s, 0, id, err);
}

mobiedit_status me_ledger_last(me_ledger *l, mobiedit_record_state state, int64_t *id, mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(l, "SELECT id FROM edits WHERE state = ? ORDER BY serial DESC, id DESC", &s, err));
    (void)sqlite3_bind_int(s, 1, (int)state);
    return me_sql_number(l, s, 0, id, err);
}

/* ---- changes ----------------------------------------------------------------------------------------- */

/* Raises the generation by one. The adapter is another one from now on:
 * whether edits hold in it is not known. */
static mobiedit_status next_serial(me_ledger *l, int64_t *serial, mobiedit_error *err) {
    ME_TRY(me_sql_run(l, "UPDATE edits SET holds = -1 WHERE state = 0 AND holds <> -1", err));
    ME_TRY(me_sql_run(l, "UPDATE about SET value = value + 1 WHERE name = 'generation'", err));
    return me_ledger_generation(l, serial, err);
}

/* What a solve gives, in the order of both statements below: parameters 1 to 12. */
static void bind_solved(const me_ledger *l, sqlite3_stmt *s, const me_record *r) {
    const mobiedit_record *a = &r->about;
    (void)sqlite3_bind_int(s, 1, a->solve.layer);
    me_sql_bind_text(s, 2, a->solve.solver);
    (void)sqlite3_bind_int64(s, 3, (int64_t)a->solve.seed);
    (void)sqlite3_bind_int(s, 4, (int)a->solve.stop);
    (void)sqlite3_bind_int(s, 5, a->solve.rounds);
    me_sql_bind_number(s, 6, (double)a->solve.loss);
    me_sql_bind_number(s, 7, (double)a->solve.delta_ratio);
    (void)sqlite3_bind_int64(s, 8, (int64_t)a->solve.evaluations);
    (void)sqlite3_bind_int64(s, 9, (int64_t)a->solve.token_passes);
    me_sql_bind_number(s, 10, a->solve.seconds);
    (void)sqlite3_bind_int64(s, 11, record_hash(l, r, l->model->d_model));
    (void)sqlite3_bind_int64(s, 12, (int64_t)time(NULL));
}

static mobiedit_status put_vectors(me_ledger *l, int64_t id, const me_record *r, mobiedit_error *err) {
    const size_t delta = (size_t)l->model->d_model * sizeof *r->delta;
    const size_t keys = (size_t)r->n_keys * (size_t)l->model->d_model * sizeof *r->keys;
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(l, "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    (void)sqlite3_bind_blob64(s, 2, r->delta, delta, SQLITE_STATIC);
    (void)sqlite3_bind_blob64(s, 3, r->keys, keys, SQLITE_STATIC);
    return me_sql_finish(l, s, err);
}

static mobiedit_status add_texts(me_ledger *l, const char *insert, const char *const *texts, size_t n,
                                 int64_t id, mobiedit_error *err) {
    for (size_t i = 0; i < n; i++) {
        sqlite3_stmt *s;
        ME_TRY(me_sql_prepare(l, insert, &s, err));
        (void)sqlite3_bind_int64(s, 1, id);
        (void)sqlite3_bind_int64(s, 2, (int64_t)i);
        me_sql_bind_text(s, 3, texts[i]);
        ME_TRY(me_sql_finish(l, s, err));
    }
    return MOBIEDIT_OK;
}

static mobiedit_status add_other(me_ledger *l, int64_t id, size_t place, const mobiedit_other *other,
                                 mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(l, "INSERT INTO others VALUES (?, ?, ?, ?, ?, ?)", &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    (void)sqlite3_bind_int64(s, 2, (int64_t)place);
    me_sql_bind_text(s, 3, other->prompt);
    me_sql_bind_text(s, 4, other->before);
    me_sql_bind_text(s, 5, other->after);
    (void)sqlite3_bind_int(s, 6, other->unchanged);
    return me_sql_finish(l, s, err);
}

mobiedit_status me_ledger_set_asides(me_ledger *l, int64_t id, const mobiedit_asides *asides,
                                     mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(l, "INSERT OR REPLACE INTO chats VALUES (?, ?)", &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    (void)sqlite3_bind_int(s, 2, asides->chat);
    ME_TRY(me_sql_finish(l, s, err));
    ME_TRY(me_sql_prepare(l, "DELETE FROM others WHERE edit = ?", &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    ME_TRY(me_sql_finish(l, s, err));
    for (size_t i = 0; i < asides->n_others; i++)
        ME_TRY(add_other(l, id, i, &asides->others[i], err));
    return MOBIEDIT_OK;
}

/* Whether it can be read again; what is written is of the present version, and so has keys. */
static mobiedit_status check_writable(const me_record *r, mobiedit_error *err) {
    if (r->about.n_keep <= MAX_KEEPS && r->about.n_also <= MAX_KEEPS && r->n_keys >= 1 &&
        r->n_keys <= MAX_KEYS)
        return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_ARGUMENT,
                   "an edit with %zu prompts to keep, %zu other wordings and %d keys cannot be recorded",
                   r->about.n_keep, r->about.n_also, r->n_keys);
}

mobiedit_status me_ledger_add(me_ledger *l, const me_record *r, int64_t *id, mobiedit_error *err) {
    int64_t serial;
    sqlite3_stmt *s;
    ME_TRY(check_writable(r, err));
    ME_TRY(next_serial(l, &serial, err));
    ME_TRY(me_sql_prepare(
        l,
        "INSERT INTO edits (layer, solver, seed, stop, rounds, loss, delta_ratio, evaluations, "
        "token_passes, seconds, hash, changed, created, verified, holds, state, serial, prompt, "
        "target, before, after, at_answer) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, "
        "0, -1, 0, ?13, ?14, ?15, ?16, ?17, ?18)",
        &s, err));
    bind_solved(l, s, r);
    (void)sqlite3_bind_int64(s, 13, serial);
    me_sql_bind_text(s, 14, r->about.prompt);
    me_sql_bind_text(s, 15, r->about.target);
    me_sql_bind_text(s, 16, r->about.before);
    me_sql_bind_text(s, 17, r->about.after);
    (void)sqlite3_bind_int(s, 18, r->about.solve.at_answer);
    ME_TRY(me_sql_finish(l, s, err));
    *id = sqlite3_last_insert_rowid(l->db);
    ME_TRY(put_vectors(l, *id, r, err));
    const mobiedit_record *a = &r->about;
    ME_TRY(add_texts(l, "INSERT INTO keeps VALUES (?, ?, ?)", a->keep, a->n_keep, *id, err));
    ME_TRY(add_texts(l, "INSERT INTO also VALUES (?, ?, ?)", a->also, a->n_also, *id, err));
    return me_ledger_set_asides(l, *id, &a->asides, err);
}

mobiedit_status me_ledger_set_state(me_ledger *l, int64_t id, mobiedit_record_state state,
                                    int64_t superseded_by, mobiedit_error *err) {
    int64_t serial;
    sqlite3_stmt *s;
    ME_TRY(next_serial(l, &serial, err));
    ME_TRY(
        me_sql_prepare(l,
                       "UPDATE edits SET state = ?, superseded_by = nullif(?, 0), serial = ?, changed = ?, "
                       "holds = -1 WHERE id = ?",
                       &s, err));
    (void)sqlite3_bind_int(s, 1, (int)state);
    (void)sqlite3_bind_int64(s, 2, superseded_by);
    (void)sqlite3_bind_int64(s, 3, serial);
    (void)sqlite3_bind_int64(s, 4, (int64_t)time(NULL));
    (void)sqlite3_bind_int64(s, 5, id);
    return me_sql_finish(l, s, err);
}

mobiedit_status me_ledger_replace(me_ledger *l, const me_record *r, mobiedit_error *err) {
    int64_t serial;
    sqlite3_stmt *s;
    ME_TRY(check_writable(r, err));
    ME_TRY(next_serial(l, &serial, err));
    ME_TRY(me_sql_prepare(
        l,
        "UPDATE edits SET layer = ?1, solver = ?2, seed = ?3, stop = ?4, rounds = ?5, loss = ?6, "
        "delta_ratio = ?7, evaluations = ?8, token_passes = ?9, seconds = ?10, hash = ?11, "
        "changed = ?12, holds = -1 WHERE id = ?13",
        &s, err));
    bind_solved(l, s, r);
    (void)sqlite3_bind_int64(s, 13, r->about.id);
    ME_TRY(me_sql_finish(l, s, err));
    return put_vectors(l, r->about.id, r, err);
}

mobiedit_status me_ledger_set_holds(me_ledger *l, int64_t id, bool holds, mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(l, "UPDATE edits SET holds = ?, verified = ? WHERE id = ?", &s, err));
    (void)sqlite3_bind_int(s, 1, holds);
    (void)sqlite3_bind_int64(s, 2, (int64_t)time(NULL));
    (void)sqlite3_bind_int64(s, 3, id);
    return me_sql_finish(l, s, err);
}
