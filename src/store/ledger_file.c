/* The ledger's file: SQLite, opening, checking and making it. */
#define _GNU_SOURCE
#include "store/ledger_private.h"

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "store/ledger_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- SQLite ------------------------------------------------------------------------------------------ */

/* The failure of the last call on the database, as a status. A statement that does not compile tells of
 * tables that are not ours. */
mobiedit_status me_sql_fail(const me_ledger *l, mobiedit_error *err) {
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

mobiedit_status me_sql_prepare(const me_ledger *l, const char *sql, sqlite3_stmt **out, mobiedit_error *err) {
    *out = NULL;
    return sqlite3_prepare_v2(l->db, sql, -1, out, NULL) == SQLITE_OK ? MOBIEDIT_OK : me_sql_fail(l, err);
}

/* The next row; *row is false behind the last one. */
mobiedit_status me_sql_step(const me_ledger *l, sqlite3_stmt *statement, bool *row, mobiedit_error *err) {
    const int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    return *row || code == SQLITE_DONE ? MOBIEDIT_OK : me_sql_fail(l, err);
}

/* Runs a statement that gives no rows, and ends it. */
mobiedit_status me_sql_finish(const me_ledger *l, sqlite3_stmt *statement, mobiedit_error *err) {
    bool row;
    const mobiedit_status status = me_sql_step(l, statement, &row, err);
    (void)sqlite3_finalize(statement);
    return status;
}

mobiedit_status me_sql_run(const me_ledger *l, const char *sql, mobiedit_error *err) {
    return sqlite3_exec(l->db, sql, NULL, NULL, NULL) == SQLITE_OK ? MOBIEDIT_OK : me_sql_fail(l, err);
}

/* The first number that the statement gives, else `otherwise`; ends it. */
mobiedit_status me_sql_number(const me_ledger *l, sqlite3_stmt *statement, int64_t otherwise, int64_t *out,
                              mobiedit_error *err) {
    bool row;
    const mobiedit_status status = me_sql_step(l, statement, &row, err);
    if (status == MOBIEDIT_OK) *out = row ? sqlite3_column_int64(statement, 0) : otherwise;
    (void)sqlite3_finalize(statement);
    return status;
}

mobiedit_status me_sql_query_number(const me_ledger *l, const char *sql, int64_t otherwise, int64_t *out,
                                    mobiedit_error *err) {
    sqlite3_stmt *statement;
    ME_TRY(me_sql_prepare(l, sql, &statement, err));
    return me_sql_number(l, statement, otherwise, out, err);
}

void me_sql_bind_text(sqlite3_stmt *statement, int at, const char *text) {
    (void)sqlite3_bind_text(statement, at, text ? text : "", -1, SQLITE_STATIC);
}

void me_sql_bind_number(sqlite3_stmt *statement, int at, double value) {
    (void)sqlite3_bind_double(statement, at, isfinite(value) ? value : 0);
}

/* ---- transactions ------------------------------------------------------------------------------------ */

mobiedit_status me_ledger_begin(me_ledger *l, mobiedit_error *err) {
    int is_gone = 0;
    ME_TRY(me_sql_run(l, "BEGIN IMMEDIATE", err));
    if (sqlite3_file_control(l->db, "main", SQLITE_FCNTL_HAS_MOVED, &is_gone) != SQLITE_OK || !is_gone)
        return MOBIEDIT_OK;
    me_ledger_rollback(l);
    return me_fail(err, MOBIEDIT_E_IO, "the ledger %s was removed meanwhile", l->path);
}

mobiedit_status me_ledger_commit(me_ledger *l, mobiedit_error *err) {
    const mobiedit_status status = me_sql_run(l, "COMMIT", err);
    if (status != MOBIEDIT_OK) me_ledger_rollback(l);
    return status;
}

void me_ledger_rollback(me_ledger *l) {
    if (!sqlite3_get_autocommit(l->db)) (void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
}

mobiedit_status me_ledger_end(me_ledger *l, mobiedit_status status, mobiedit_error *err) {
    if (status == MOBIEDIT_OK) return me_ledger_commit(l, err);
    me_ledger_rollback(l);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------------- */

/* SQLite makes files as the umask says; ours are private. Its journal files take the mode of the database. */
static mobiedit_status make_file(me_ledger *l, mobiedit_error *err) {
    const int fd = open(l->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno != EEXIST)
        return me_fail(err, MOBIEDIT_E_IO, "cannot make the ledger %s: %s", l->path, strerror(errno));
    l->is_made = fd >= 0;
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
    if (code != SQLITE_OK) return me_sql_fail(l, err);
    (void)sqlite3_extended_result_codes(l->db, 0);
    (void)sqlite3_busy_timeout(l->db, ME_BUSY_MS);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(l->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return me_sql_run(l, "PRAGMA cell_size_check = ON; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL",
                      err);
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
    if (status == MOBIEDIT_OK) status = me_sql_query_number(l, "PRAGMA user_version", 0, &version, err);
    if (status != MOBIEDIT_E_IO) return status;
    char *uri = immutable_uri(l->path);
    if (!uri) return me_fail_memory(err, "the ledger's path");
    status = open_database(l, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    me_free(uri);
    return status;
}

static mobiedit_status open_to_write(me_ledger *l, mobiedit_error *err) {
    ME_TRY(make_file(l, err));
    ME_TRY(open_database(l, l->path, SQLITE_OPEN_READWRITE, err));
    if (sqlite3_db_readonly(l->db, "main") == 1)
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s cannot be written", l->path);
    return MOBIEDIT_OK;
}

/* Inside a transaction: the numbers belong together. *old: of the version before this one. */
static mobiedit_status check_kind(const me_ledger *l, bool *empty, bool *old, mobiedit_error *err) {
    int64_t version, application, tables;
    *old = false;
    ME_TRY(me_sql_query_number(l, "PRAGMA user_version", 0, &version, err));
    ME_TRY(me_sql_query_number(l, "PRAGMA application_id", 0, &application, err));
    ME_TRY(me_sql_query_number(l, "SELECT count(*) FROM sqlite_master", 0, &tables, err));
    *empty = version == 0 && application == 0 && tables == 0;
    if (*empty) return MOBIEDIT_OK;
    if (application != ME_LEDGER_APPLICATION)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s is not a ledger", l->path);
    if (version <= 0)
        return me_fail(err, MOBIEDIT_E_FORMAT, "the ledger %s is damaged: version %lld", l->path,
                       (long long)version);
    *old = version == ME_LEDGER_VERSION - 1;
    if (version != ME_LEDGER_VERSION && !*old)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "the ledger %s has version %lld, but this program knows version %d", l->path,
                       (long long)version, ME_LEDGER_VERSION);
    return MOBIEDIT_OK;
}

static mobiedit_status put_about(const me_ledger *l, const char *name, const char *value,
                                 mobiedit_error *err) {
    sqlite3_stmt *s;
    ME_TRY(me_sql_prepare(l, "INSERT INTO about VALUES (?, ?)", &s, err));
    me_sql_bind_text(s, 1, name);
    me_sql_bind_text(s, 2, value);
    return me_sql_finish(l, s, err);
}

static mobiedit_status check_integrity(const me_ledger *l, mobiedit_error *err) {
    sqlite3_stmt *s;
    bool row;
    ME_TRY(me_sql_prepare(l, "PRAGMA integrity_check(1)", &s, err));
    mobiedit_status status = me_sql_step(l, s, &row, err);
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
    ME_TRY(me_sql_prepare(l, "SELECT value FROM about WHERE name = 'fingerprint'", &s, err));
    mobiedit_status status = me_sql_step(l, s, &row, err);
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
static mobiedit_status make_locked(me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    bool empty, old;
    ME_TRY(check_kind(l, &empty, &old, err));
    if (!empty && !old) return MOBIEDIT_OK;
    ME_TRY(me_sql_run(l, empty ? me_ledger_schema : me_ledger_schema_from_2, err));
    if (empty) ME_TRY(put_about(l, "fingerprint", fingerprint, err));
    if (empty) ME_TRY(put_about(l, "model", me_base_name(l->model->path), err));
    char pragmas[80];
    (void)snprintf(pragmas, sizeof pragmas, "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   ME_LEDGER_APPLICATION, ME_LEDGER_VERSION);
    return me_sql_run(l, pragmas, err);
}

/* SQLite asks no busy handler here, as two processes that wait for each other's read lock would for ever. */
static mobiedit_status use_wal(const me_ledger *l, mobiedit_error *err) {
    enum { PAUSE_MS = 10 };
    int code = SQLITE_BUSY;
    for (int waited = 0; code == SQLITE_BUSY && waited < ME_BUSY_MS; waited += PAUSE_MS) {
        if (waited > 0) (void)sqlite3_sleep(PAUSE_MS);
        code = sqlite3_exec(l->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    }
    return code == SQLITE_OK ? MOBIEDIT_OK : me_sql_fail(l, err);
}

/* Makes the tables of an empty database, and those that one of the version before lacks. */
static mobiedit_status make_tables(me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    bool empty, old;
    ME_TRY(me_sql_run(l, "BEGIN", err));
    mobiedit_status status = check_kind(l, &empty, &old, err);
    me_ledger_rollback(l);
    if (status != MOBIEDIT_OK || (!empty && !old)) return status;
    if (old && sqlite3_db_readonly(l->db, "main") == 1)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "the ledger %s is of an older version, and cannot be written to bring it up to date",
                       l->path);
    if (!old && !l->write)
        return me_fail(err, MOBIEDIT_E_IO, "the ledger %s is empty: nothing has been recorded", l->path);
    if (empty) ME_TRY(use_wal(l, err));
    ME_TRY(me_ledger_begin(l, err));
    return me_ledger_end(l, make_locked(l, fingerprint, err), err);
}

/* SQLite takes some names for no file's ("", ":memory:", "file:" URIs, which may carry options), and would
 * read a pipe or a device. */
static mobiedit_status check_path(const char *path, mobiedit_error *err) {
    struct stat about;
    if (!*path) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the ledger's path is empty");
    if (path[0] == ':' || strncasecmp(path, "file:", strlen("file:")) == 0)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the ledger %s is a special name of SQLite's: write ./%s if a file is named like this",
                       path, path);
    if (stat(path, &about) != 0 || S_ISREG(about.st_mode)) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_ARGUMENT, "the ledger %s is %s, not a regular file", path,
                   S_ISDIR(about.st_mode)    ? "a folder"
                   : S_ISFIFO(about.st_mode) ? "a pipe"
                   : S_ISSOCK(about.st_mode) ? "a socket"
                                             : "a device");
}

static mobiedit_status open_and_check(me_ledger *l, const char *fingerprint, mobiedit_error *err) {
    ME_TRY(check_path(l->path, err));
    ME_TRY(l->write ? open_to_write(l, err) : open_to_read(l, err));
    ME_TRY(make_tables(l, fingerprint, err));
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

static bool is_unused(const me_ledger *l) {
    int64_t n;
    return me_sql_query_number(l,
                               "SELECT value + (SELECT count(*) FROM edits) FROM about "
                               "WHERE name = 'generation'",
                               1, &n, NULL) == MOBIEDIT_OK &&
           n == 0;
}

/* Whether nothing has been recorded, and no other process has the ledger open: if one has, it cannot leave WAL
 * and be locked. The lock is held until the database is closed. */
static bool lock_unused(const me_ledger *l) {
    if (!is_unused(l)) return false;
    (void)sqlite3_busy_timeout(l->db, 0);
    if (me_sql_run(l, "PRAGMA journal_mode = DELETE", NULL) != MOBIEDIT_OK) return false;
    if (me_sql_run(l, "BEGIN EXCLUSIVE", NULL) == MOBIEDIT_OK && is_unused(l)) return true;
    (void)sqlite3_exec(l->db, "ROLLBACK; PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    return false;
}

/* A ledger that was made for an edit which was then refused goes again. One who waits for the lock meanwhile
 * finds in me_ledger_begin that the file is gone. */
void me_ledger_close(me_ledger *l) {
    if (!l) return;
    if (l->db && l->is_made && lock_unused(l)) (void)unlink(l->path);
    (void)sqlite3_close(l->db);
    me_free(l->path);
    me_free(l);
}

char *me_ledger_default_path(const me_model *model) {
    return me_strjoin(model->path, MOBIEDIT_LEDGER_SUFFIX);
}
