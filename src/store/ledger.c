#define _GNU_SOURCE
#include "store/ledger.h"

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "store/ledger_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

enum { BUSY_MS = 20000, MAX_KEYS = 10000, MAX_KEEPS = 1000, MAX_TEXT = 1 << 20 };

struct me_ledger {
    sqlite3 *db;
    char *path;
    const me_model *model;
    bool write;
};

/* ---- SQLite ------------------------------------------------------------------------------------------ */

/* The failure of the last call on the database, as a status. A statement that does not compile tells of
 * tables that are not ours. */
static mobiedit_status fail(const me_ledger *l, mobiedit_error *err) {
    switch (sqlite3_errcode(l->db)) {
    case SQLITE_NOMEM:
        return me_fail_memory(err, "the ledger");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s is held by another process", l->path);
    case SQLITE_NOTADB:
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a ledger", l->path);
    case SQLITE_CORRUPT:
    case SQLITE_ERROR:
    case SQLITE_TOOBIG:
        return me_fail(err, MOBIEDIT_E_FORMAT, "the ledger %s is damaged: %s", l->path,
                       sqlite3_errmsg(l->db));
    default:
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s: %s", l->path, sqlite3_errmsg(l->db));
    }
}

static mobiedit_status prepare(const me_ledger *l, const char *sql, sqlite3_stmt **out, mobiedit_error *err) {
    *out = NULL;
    return sqlite3_prepare_v2(l->db, sql, -1, out, NULL) == SQLITE_OK ? MOBIEDIT_OK : fail(l, err);
}

/* The next row; *row is false behind the last one. */
static mobiedit_status step(const me_ledger *l, sqlite3_stmt *statement, bool *row, mobiedit_error *err) {
    const int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    return *row || code == SQLITE_DONE ? MOBIEDIT_OK : fail(l, err);
}

/* Runs a statement that gives no rows, and ends it. */
static mobiedit_status finish(const me_ledger *l, sqlite3_stmt *statement, mobiedit_error *err) {
    bool row;
    const mobiedit_status status = step(l, statement, &row, err);
    (void)sqlite3_finalize(statement);
    return status;
}

static mobiedit_status run(const me_ledger *l, const char *sql, mobiedit_error *err) {
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? MOBIEDIT_OK : fail(l, err);
}

/* The first number that the statement gives, else `otherwise`; ends it. */
static mobiedit_status number(const me_ledger *l, sqlite3_stmt *statement, int64_t otherwise, int64_t *out,
                              mobiedit_error *err) {
    bool row;
    const mobiedit_status status = step(l, statement, &row, err);
    if (status == MOBIEDIT_OK) *out = row ? sqlite3_column_int64(statement, 0) : otherwise;
    (void)sqlite3_finalize(statement);
    return status;
}

static mobiedit_status query_number(const me_ledger *l, const char *sql, int64_t otherwise, int64_t *out,
                                    mobiedit_error *err) {
    sqlite3_stmt *statement;
    ME_TRY(prepare(l, sql, &statement, err));
    return number(l, statement, otherwise, out, err);
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text) {
    (void)sqlite3_bind_text(statement, at, text ? text : "", -1, SQLITE_STATIC);
}

static void bind_number(sqlite3_stmt *statement, int at, double value) {
    (void)sqlite3_bind_double(statement, at, isfinite(value) ? value : 0);
}

/* ---- opening ----------------------------------------------------------------------------------------- */

/* SQLite makes files as the umask says; ours are private. Its journal files take the mode of the database. */
static mobiedit_status make_file(const char *path, mobiedit_error *err) {
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return me_fail(err, MOBIEDIT_E_IO, "cannot make the ledger %s: %s", path, strerror(errno));
    if (fd >= 0) (void)close(fd);
    return MOBIEDIT_OK;
}

/* A file: URI that says that nobody writes: what a ledger in a folder that cannot be written needs. Freed
 * with me_free. */
static char *immutable_uri(const char *path) {
    static const char query[] = "?immutable=1", hex[] = "0123456789ABCDEF";
    char *uri = me_calloc(3 * strlen(path) + sizeof "file:" + sizeof query, 1);
    if (!uri) return NULL;
    char *at = uri + snprintf(uri, sizeof "file:", "file:");
    for (const unsigned char *c = (const unsigned char *)path; *c; c++) {
        if (strchr("%?#", *c)) {
            *at++ = '%';
            *at++ = hex[*c >> 4];
            *at++ = hex[*c & 15];
        } else {
            *at++ = (char)*c;
        }
    }
    memcpy(at, query, sizeof query);
    return uri;
}

static mobiedit_status open_database(me_ledger *l, const char *name, int flags, mobiedit_error *err) {
    (void)sqlite3_close(l->db);
    l->db = NULL;
    const int code = sqlite3_open_v2(name, &l->db, flags | SQLITE_OPEN_EXRESCODE, NULL);
    if (!l->db) return me_fail_memory(err, "the ledger");
    if (code != SQLITE_OK) return fail(l, err);
    (void)sqlite3_extended_result_codes(l->db, 0);
    (void)sqlite3_busy_timeout(l->db, BUSY_MS);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return run(l, "PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL", err);
}

static bool is_there(const char *path) {
    return access(path, F_OK) == 0;
}

/* To read a ledger, SQLite wants to make files beside it. Where it may not, and no writer has left any, the
 * file alone is all there is. */
static mobiedit_status open_to_read(me_ledger *l, mobiedit_error *err) {
    if (!is_there(l->path))
        return me_fail(err, MOBIEDIT_E_IO, "there is no ledger %s: nothing has been recorded", l->path);
    int64_t version;
    mobiedit_status status = open_database(l, l->path, SQLITE_OPEN_READWRITE, err);
    if (status == MOBIEDIT_OK) status = query_number(l, "PRAGMA user_version", 0, &version, err);
    if (status != MOBIEDIT_E_IO) return status;
    char *uri = immutable_uri(l->path);
    if (!uri) return me_fail_memory(err, "the ledger's path");
    status = open_database(l, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    me_free(uri);
    return status;
}

static mobiedit_status open_to_write(me_ledger *l, mobiedit_error *err) {
    ME_TRY(make_file(l->path, err));
    ME_TRY(open_database(l, l->path, SQLITE_OPEN_READWRITE, err));
    if (sqlite3_db_readonly(l->db, "main") == 1)
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s cannot be written", l->path);
    return MOBIEDIT_OK;
}

/* Inside a transaction: the numbers belong together. */
static mobiedit_status check_kind(const me_ledger *l, int64_t *version, mobiedit_error *err) {
    int64_t application, tables;
    ME_TRY(query_number(l, "PRAGMA user_version", 0, version, err));
    ME_TRY(query_number(l, "PRAGMA application_id", 0, &application, err));
    ME_TRY(query_number(l, "SELECT count(*) FROM sqlite_master", 0, &tables, err));
    const bool empty = *version == 0 && application == 0 && tables == 0;
    if (!empty && application != ME_LEDGER_APPLICATION)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a ledger", l->path);
    if (*version > me_ledger_version)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "the ledger %s is of version %lld; this program knows those up to %d", l->path,
                       (long long)*version, me_ledger_version);
    if (*version < 0 || (!empty && *version == 0))
        return me_fail(err, MOBIEDIT_E_FORMAT, "the ledger %s is damaged: version %lld", l->path,
                       (long long)*version);
    return MOBIEDIT_OK;
}

static mobiedit_status put_about(const me_ledger *l, const char *name, const char *value,
                                 mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(prepare(l, "INSERT INTO about VALUES (?, ?)", &s, err));
    bind_text(s, 1, name);
    bind_text(s, 2, value);
    return finish(l, s, err);
}

static mobiedit_status check_integrity(const me_ledger *l, mobiedit_error *err) {
    sqlite3_stmt *s;
    bool row;
    ME_TRY(prepare(l, "PRAGMA integrity_check(1)", &s, err));
    mobiedit_status status = step(l, s, &row, err);
    if (status == MOBIEDIT_OK) {
        const char *answer = row ? (const char *)sqlite3_column_text(s, 0) : NULL;
        if (!answer || strcmp(answer, "ok") != 0)
            status = me_fail(err, MOBIEDIT_E_FORMAT, "the ledger %s is damaged: %.200s", l->path,
                             answer ? answer : "it cannot be checked");
    }
    (void)sqlite3_finalize(s);
    for (char *c = err ? err->message : NULL; status != MOBIEDIT_OK && c && *c; c++)
        if (*c == '\n') *c = ' ';
    return status;
}

static mobiedit_status check_model(const me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    sqlite3_stmt *s;
    bool row;
    ME_TRY(prepare(l, "SELECT value FROM about WHERE name = 'fingerprint'", &s, err));
    mobiedit_status status = step(l, s, &row, err);
    const char *known = status == MOBIEDIT_OK && row ? (const char *)sqlite3_column_text(s, 0) : NULL;
    if (status == MOBIEDIT_OK && !known)
        status = me_fail(err, MOBIEDIT_E_FORMAT, "the ledger %s is damaged: it names no model", l->path);
    else if (known && strcmp(known, fingerprint) != 0)
        status = me_fail(err, MOBIEDIT_E_MISMATCH, "the ledger %s belongs to another model than %s", l->path,
                         l->model->path);
    (void)sqlite3_finalize(s);
    return status;
}

/* Whole, and this model's. */
static mobiedit_status check(const me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    ME_TRY(check_integrity(l, err));
    return check_model(l, fingerprint, err);
}

/* Inside a transaction: another process may have done it meanwhile. */
static mobiedit_status migrate_locked(me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    int64_t version;
    ME_TRY(check_kind(l, &version, err));
    if (version == me_ledger_version) return MOBIEDIT_OK;
    if (version > 0) ME_TRY(check(l, fingerprint, err)); /* what is to be refused is not changed before */
    for (int64_t i = version; i < me_ledger_version; i++) {
        const me_ledger_migration *m = &me_ledger_migrations[i];
        if (m->step) ME_TRY(m->step(l, err));
        ME_TRY(run(l, m->sql, err));
    }
    if (version == 0) {
        ME_TRY(put_about(l, "fingerprint", fingerprint, err));
        ME_TRY(put_about(l, "model", me_base_name(l->model->path), err));
    }
    char pragmas[80];
    (void)snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   ME_LEDGER_APPLICATION, me_ledger_version);
    return run(l, pragmas, err);
}

/* SQLite asks no busy handler here, as two processes that wait for each other's read lock would for ever. */
static mobiedit_status use_wal(const me_ledger *l, mobiedit_error *err) {
    enum { PAUSE_MS = 10 };
    int code = SQLITE_BUSY;
    for (int waited = 0; code == SQLITE_BUSY && waited < BUSY_MS; waited += PAUSE_MS) {
        if (waited > 0) (void)sqlite3_sleep(PAUSE_MS);
        code = sqlite3_exec(l->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? MOBIEDIT_OK : fail(l, err);
}

static mobiedit_status migrate(me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    int64_t version;
    ME_TRY(run(l, "BEGIN", err));
    mobiedit_status status = check_kind(l, &version, err);
    me_ledger_rollback(l);
    if (status != MOBIEDIT_OK) return status;
    if (version == me_ledger_version) return MOBIEDIT_OK;
    if (version == 0 && !l->write)
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s is empty: nothing has been recorded", l->path);
    if (sqlite3_db_readonly(l->db, "main") == 1)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "the ledger %s is of an older version and cannot be written", l->path);
    if (version == 0) ME_TRY(use_wal(l, err));
    ME_TRY(me_ledger_begin(l, err));
    status = migrate_locked(l, fingerprint, err);
    if (status == MOBIEDIT_OK) return me_ledger_commit(l, err);
    me_ledger_rollback(l);
    return status;
}

static mobiedit_status open_and_check(me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    ME_TRY(l->write ? open_to_write(l, err) : open_to_read(l, err));
    ME_TRY(migrate(l, fingerprint, err));
    return check(l, fingerprint, err);
}

mobiedit_status me_ledger_open(const char *path, const me_model *model, const char *fingerprint, bool write,
                               me_ledger **out, mobiedit_error *err) {
    me_ledger *l = me_calloc(1, sizeof *l);
    if (!l) return me_fail_memory(err, "the ledger");
    *l = (me_ledger){.path = me_strdup(path), .model = model, .write = write};
    const mobiedit_status status =
        l->path ? open_and_check(l, fingerprint, err) : me_fail_memory(err, "the ledger");
    if (status == MOBIEDIT_OK)
        *out = l;
    else
        me_ledger_close(l);
    return status;
}

void me_ledger_close(me_ledger *l) {
    if (!l) return;
    (void)sqlite3_close(l->db);
    me_free(l->path);
    me_free(l);
}

char *me_ledger_default_path(const me_model *model) {
    return me_strjoin(model->path, ".mobiedit.db");
}

/* ---- reading records --------------------------------------------------------------------------------- */

static void record_free(me_record *r) {
    for (size_t i = 0; i < r->about.n_keep; i++)
        me_free((void *)r->about.keep[i]);
    me_free((void *)r->about.keep);
    me_free((void *)r->about.prompt);
    me_free((void *)r->about.target);
    me_free((void *)r->about.solver);
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
    hash = XXH3_64bits_withSeed(r->delta, (size_t)l->model->d_model * sizeof *r->delta,
                                hash + (XXH64_hash_t)a->layer);
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
    "id, prompt, target, state, superseded_by, layer, solver, seed, stop, rounds, loss, delta_ratio, "       \
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
                           .layer = sqlite3_column_int(s, COLUMN_LAYER),
                           .solver = copy_text(s, COLUMN_SOLVER),
                           .seed = (uint64_t)sqlite3_column_int64(s, COLUMN_SEED),
                           .stop = (mobiedit_stop)sqlite3_column_int(s, COLUMN_STOP),
                           .rounds = sqlite3_column_int(s, COLUMN_ROUNDS),
                           .loss = (float)sqlite3_column_double(s, COLUMN_LOSS),
                           .delta_ratio = (float)sqlite3_column_double(s, COLUMN_DELTA_RATIO),
                           .evaluations = (size_t)sqlite3_column_int64(s, COLUMN_EVALUATIONS),
                           .token_passes = (size_t)sqlite3_column_int64(s, COLUMN_TOKEN_PASSES),
                           .seconds = sqlite3_column_double(s, COLUMN_SECONDS),
                           .before = copy_text(s, COLUMN_BEFORE),
                           .after = copy_text(s, COLUMN_AFTER),
                           .holds = sqlite3_column_int(s, COLUMN_HOLDS),
                           .created = sqlite3_column_int64(s, COLUMN_CREATED),
                           .changed = sqlite3_column_int64(s, COLUMN_CHANGED),
                           .verified = sqlite3_column_int64(s, COLUMN_VERIFIED)};
    if (!a->prompt || !a->target || !a->solver || !a->before || !a->after)
        return damaged(l, a->id, "a text is missing, or is no text", err);
    if (a->state < MOBIEDIT_RECORD_ACTIVE || a->state > MOBIEDIT_RECORD_SUPERSEDED)
        return damaged(l, a->id, "it has an unknown state", err);
    if (a->layer < 0 || a->layer >= l->model->n_layer)
        return damaged(l, a->id, "there is no such layer", err);
    if (a->stop < MOBIEDIT_STOP_SOLVED || a->stop > MOBIEDIT_STOP_ALREADY_SAID)
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

static mobiedit_status read_keeps(const me_ledger *l, mobiedit_record *a, mobiedit_error *err) {
    sqlite3_stmt *s;
    int64_t n;
    ME_TRY(prepare(l, "SELECT count(*) FROM keeps WHERE edit = ?", &s, err));
    (void)sqlite3_bind_int64(s, 1, a->id);
    ME_TRY(number(l, s, 0, &n, err));
    if (n == 0) return MOBIEDIT_OK;
    if (n > MAX_KEEPS) return damaged(l, a->id, "it has too many prompts to keep", err);
    const char **keep = me_calloc((size_t)n, sizeof *keep);
    if (!keep) return me_fail_memory(err, "the prompts to keep");
    a->keep = keep;
    ME_TRY(prepare(l, "SELECT prompt FROM keeps WHERE edit = ? ORDER BY place", &s, err));
    (void)sqlite3_bind_int64(s, 1, a->id);
    mobiedit_status status;
    bool row;
    while ((status = step(l, s, &row, err)) == MOBIEDIT_OK && row && a->n_keep < (size_t)n) {
        keep[a->n_keep] = copy_text(s, 0);
        if (!keep[a->n_keep]) {
            status = damaged(l, a->id, "a prompt to keep is no text", err);
            break;
        }
        a->n_keep++;
    }
    (void)sqlite3_finalize(s);
    return status;
}

/* keys: NULL where only what is known about the record is wanted, without its vectors. */
static mobiedit_status read_record(const me_ledger *l, sqlite3_stmt *s, const shape *keys, me_record *r,
                                   mobiedit_error *err) {
    const shape delta = {.width = l->model->d_model, .least = 1, .most = 1};
    int one;
    ME_TRY(read_about(l, s, &r->about, err));
    ME_TRY(read_keeps(l, &r->about, err));
    if (!keys) return MOBIEDIT_OK;
    ME_TRY(read_floats(l, s, COLUMN_DELTA, delta, &r->delta, &one, err));
    ME_TRY(read_floats(l, s, COLUMN_KEYS, *keys, &r->keys, &r->n_keys, err));
    if (record_hash(l, r, keys->width) != sqlite3_column_int64(s, COLUMN_HASH))
        return damaged(l, r->about.id, "its content is not what was written", err);
    return MOBIEDIT_OK;
}

static mobiedit_status grow(me_records *records, int *capacity, mobiedit_error *err) {
    if (records->n < *capacity) return MOBIEDIT_OK;
    const int larger = 2 * *capacity + 16;
    me_record *items = me_calloc((size_t)larger, sizeof *items);
    if (!items) return me_fail_memory(err, "the edits");
    if (records->n) memcpy(items, records->items, (size_t)records->n * sizeof *items);
    me_free(records->items);
    records->items = items;
    *capacity = larger;
    return MOBIEDIT_OK;
}

static mobiedit_status read_rows(const me_ledger *l, sqlite3_stmt *s, bool with_data, me_records *out,
                                 mobiedit_error *err) {
    const shape keys = {.width = l->model->d_model, .least = 0, .most = MAX_KEYS};
    int capacity = 0;
    for (bool row;;) {
        ME_TRY(step(l, s, &row, err));
        if (!row) return MOBIEDIT_OK;
        ME_TRY(grow(out, &capacity, err));
        me_record *record = &out->items[out->n++]; /* counted first, so that one read by half is freed */
        ME_TRY(read_record(l, s, with_data ? &keys : NULL, record, err));
    }
}

mobiedit_status me_ledger_read(me_ledger *l, const me_record_query *query, me_records *out,
                               mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(prepare(l, query->with_data ? WITH_VECTORS CHOSEN : "SELECT " RECORD_COLUMNS " FROM edits" CHOSEN,
                   &s, err));
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
    return query_number(l, "SELECT value FROM about WHERE name = 'generation'", 0, out, err);
}

mobiedit_status me_ledger_find(me_ledger *l, const char *prompt, const char *target, int64_t *id,
                               mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(prepare(l,
                   target
                       ? "SELECT id FROM edits WHERE prompt = ? AND target = ? ORDER BY state <> 0, id DESC"
                       : "SELECT id FROM edits WHERE prompt = ? AND state = 0",
                   &s, err));
    bind_text(s, 1, prompt);
    if (target) bind_text(s, 2, target);
    return number(l, s, 0, id, err);
}

mobiedit_status me_ledger_last(me_ledger *l, mobiedit_record_state state, int64_t *id, mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(prepare(l, "SELECT id FROM edits WHERE state = ? ORDER BY serial DESC, id DESC", &s, err));
    (void)sqlite3_bind_int(s, 1, (int)state);
    return number(l, s, 0, id, err);
}

/* ---- changes ----------------------------------------------------------------------------------------- */

mobiedit_status me_ledger_begin(me_ledger *l, mobiedit_error *err) {
    return run(l, "BEGIN IMMEDIATE", err);
}

mobiedit_status me_ledger_commit(me_ledger *l, mobiedit_error *err) {
    const mobiedit_status status = run(l, "COMMIT", err);
    if (status != MOBIEDIT_OK) me_ledger_rollback(l);
    return status;
}

void me_ledger_rollback(me_ledger *l) {
    if (!sqlite3_get_autocommit(l->db)) (void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Raises the generation by one. The adapter is another one from now on: whether edits hold in it is not
 * known. */
static mobiedit_status next_serial(me_ledger *l, int64_t *serial, mobiedit_error *err) {
    ME_TRY(run(l, "UPDATE edits SET holds = -1 WHERE state = 0 AND holds <> -1", err));
    ME_TRY(run(l, "UPDATE about SET value = value + 1 WHERE name = 'generation'", err));
    return me_ledger_generation(l, serial, err);
}

/* What a solve gives, in the order of both statements below: parameters 1 to 12. */
static void bind_solved(const me_ledger *l, sqlite3_stmt *s, const me_record *r) {
    const mobiedit_record *a = &r->about;
    (void)sqlite3_bind_int(s, 1, a->layer);
    bind_text(s, 2, a->solver);
    (void)sqlite3_bind_int64(s, 3, (int64_t)a->seed);
    (void)sqlite3_bind_int(s, 4, (int)a->stop);
    (void)sqlite3_bind_int(s, 5, a->rounds);
    bind_number(s, 6, (double)a->loss);
    bind_number(s, 7, (double)a->delta_ratio);
    (void)sqlite3_bind_int64(s, 8, (int64_t)a->evaluations);
    (void)sqlite3_bind_int64(s, 9, (int64_t)a->token_passes);
    bind_number(s, 10, a->seconds);
    (void)sqlite3_bind_int64(s, 11, record_hash(l, r, l->model->d_model));
    (void)sqlite3_bind_int64(s, 12, (int64_t)time(NULL));
}

static mobiedit_status put_vectors(me_ledger *l, int64_t id, const me_record *r, mobiedit_error *err) {
    const size_t delta = (size_t)l->model->d_model * sizeof *r->delta;
    const size_t keys = (size_t)r->n_keys * (size_t)l->model->d_model * sizeof *r->keys;
    sqlite3_stmt *s;
    ME_TRY(prepare(l, "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", &s, err));
    (void)sqlite3_bind_int64(s, 1, id);
    (void)sqlite3_bind_blob64(s, 2, r->delta, delta, SQLITE_STATIC);
    (void)sqlite3_bind_blob64(s, 3, r->keys, keys, SQLITE_STATIC);
    return finish(l, s, err);
}

static mobiedit_status add_keeps(me_ledger *l, const mobiedit_record *a, int64_t id, mobiedit_error *err) {
    for (size_t i = 0; i < a->n_keep; i++) {
        sqlite3_stmt *s;
        ME_TRY(prepare(l, "INSERT INTO keeps VALUES (?, ?, ?)", &s, err));
        (void)sqlite3_bind_int64(s, 1, id);
        (void)sqlite3_bind_int64(s, 2, (int64_t)i);
        bind_text(s, 3, a->keep[i]);
        ME_TRY(finish(l, s, err));
    }
    return MOBIEDIT_OK;
}

/* Whether it can be read again; what is written is of the present version, and so has keys. */
static mobiedit_status check_writable(const me_record *r, mobiedit_error *err) {
    if (r->about.n_keep <= MAX_KEEPS && r->n_keys >= 1 && r->n_keys <= MAX_KEYS) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_ARGUMENT,
                   "an edit with %zu prompts to keep and %d keys cannot be recorded", r->about.n_keep,
                   r->n_keys);
}

mobiedit_status me_ledger_add(me_ledger *l, const me_record *r, int64_t *id, mobiedit_error *err) {
    int64_t serial;
    sqlite3_stmt *s;
    ME_TRY(check_writable(r, err));
    ME_TRY(next_serial(l, &serial, err));
    ME_TRY(
        prepare(l,
                "INSERT INTO edits (layer, solver, seed, stop, rounds, loss, delta_ratio, evaluations, "
                "token_passes, seconds, hash, changed, created, verified, holds, state, serial, prompt, "
                "target, before, after) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12, 0, "
                "-1, 0, ?13, ?14, ?15, ?16, ?17)",
                &s, err));
    bind_solved(l, s, r);
    (void)sqlite3_bind_int64(s, 13, serial);
    bind_text(s, 14, r->about.prompt);
    bind_text(s, 15, r->about.target);
    bind_text(s, 16, r->about.before);
    bind_text(s, 17, r->about.after);
    ME_TRY(finish(l, s, err));
    *id = sqlite3_last_insert_rowid(l->db);
    ME_TRY(put_vectors(l, *id, r, err));
    return add_keeps(l, &r->about, *id, err);
}

mobiedit_status me_ledger_set_state(me_ledger *l, int64_t id, mobiedit_record_state state,
                                    int64_t superseded_by, mobiedit_error *err) {
    int64_t serial;
    sqlite3_stmt *s;
    ME_TRY(next_serial(l, &serial, err));
    ME_TRY(prepare(l,
                   "UPDATE edits SET state = ?, superseded_by = nullif(?, 0), serial = ?, changed = ?, "
                   "holds = -1 WHERE id = ?",
                   &s, err));
    (void)sqlite3_bind_int(s, 1, (int)state);
    (void)sqlite3_bind_int64(s, 2, superseded_by);
    (void)sqlite3_bind_int64(s, 3, serial);
    (void)sqlite3_bind_int64(s, 4, (int64_t)time(NULL));
    (void)sqlite3_bind_int64(s, 5, id);
    return finish(l, s, err);
}

mobiedit_status me_ledger_replace(me_ledger *l, const me_record *r, mobiedit_error *err) {
    int64_t serial;
    sqlite3_stmt *s;
    ME_TRY(check_writable(r, err));
    ME_TRY(next_serial(l, &serial, err));
    ME_TRY(prepare(l,
                   "UPDATE edits SET layer = ?1, solver = ?2, seed = ?3, stop = ?4, rounds = ?5, loss = ?6, "
                   "delta_ratio = ?7, evaluations = ?8, token_passes = ?9, seconds = ?10, hash = ?11, "
                   "changed = ?12, holds = -1 WHERE id = ?13",
                   &s, err));
    bind_solved(l, s, r);
    (void)sqlite3_bind_int64(s, 13, r->about.id);
    ME_TRY(finish(l, s, err));
    return put_vectors(l, r->about.id, r, err);
}

mobiedit_status me_ledger_set_holds(me_ledger *l, int64_t id, bool holds, mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(prepare(l, "UPDATE edits SET holds = ?, verified = ? WHERE id = ?", &s, err));
    (void)sqlite3_bind_int(s, 1, holds);
    (void)sqlite3_bind_int64(s, 2, (int64_t)time(NULL));
    (void)sqlite3_bind_int64(s, 3, id);
    return finish(l, s, err);
}

/* ---- older versions ---------------------------------------------------------------------------------- */

static mobiedit_status set_hash(const me_ledger *l, const me_record *r, mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(prepare(l, "UPDATE edits SET hash = ? WHERE id = ?", &s, err));
    (void)sqlite3_bind_int64(s, 1, record_hash(l, r, l->model->d_model));
    (void)sqlite3_bind_int64(s, 2, r->about.id);
    return finish(l, s, err);
}

/* The first record behind *last as version 1 wrote it, its number in *last, gets the hash that it has without
 * keys; *more is false where there is none. */
static mobiedit_status hash_next(const me_ledger *l, int64_t *last, bool *more, mobiedit_error *err) {
    const shape keys = {.width = l->model->d_ff, .least = 1, .most = MAX_KEYS};
    me_record r = {0};
    sqlite3_stmt *s;
    ME_TRY(prepare(l, WITH_VECTORS " WHERE id > ? ORDER BY id LIMIT 1", &s, err));
    (void)sqlite3_bind_int64(s, 1, *last);
    mobiedit_status status = step(l, s, more, err);
    if (status == MOBIEDIT_OK && *more) status = read_record(l, s, &keys, &r, err);
    (void)sqlite3_finalize(s);
    if (status == MOBIEDIT_OK && *more && r.about.id <= *last) /* no integer: it would come again and again */
        status = damaged(l, r.about.id, "its number is none", err);
    if (status == MOBIEDIT_OK && *more) {
        *last = r.about.id;
        r.n_keys = 0;
        status = set_hash(l, &r, err);
    }
    record_free(&r);
    return status;
}

mobiedit_status me_ledger_hash_without_keys(me_ledger *l, mobiedit_error *err) {
    int64_t last = INT64_MIN;
    for (bool more = true; more;)
        ME_TRY(hash_next(l, &last, &more, err));
    return MOBIEDIT_OK;
}
