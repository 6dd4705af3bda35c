/* What the ledger's file and its records share: statements on the database. */
#ifndef ME_STORE_LEDGER_PRIVATE_H
#define ME_STORE_LEDGER_PRIVATE_H

#include "store/ledger.h"

#include <sqlite3.h>

struct me_ledger {
    sqlite3 *db;
    char *path;
    const me_model *model;
    bool write;
    bool is_made; /* the file was not there before */
};

/* The failure of the last call on the database, as a status. */
mobiedit_status me_sql_fail(const me_ledger *l, mobiedit_error *err);

mobiedit_status me_sql_prepare(const me_ledger *l, const char *sql, sqlite3_stmt **out, mobiedit_error *err);

/* The next row; *row is false behind the last one. */
mobiedit_status me_sql_step(const me_ledger *l, sqlite3_stmt *statement, bool *row, mobiedit_error *err);

/* Runs a statement that gives no rows, and ends it. */
mobiedit_status me_sql_finish(const me_ledger *l, sqlite3_stmt *statement, mobiedit_error *err);

/* Runs statements that give no rows. */
mobiedit_status me_sql_run(const me_ledger *l, const char *sql, mobiedit_error *err);

/* The first number that the statement gives, else `otherwise`; ends it. */
mobiedit_status me_sql_number(const me_ledger *l, sqlite3_stmt *statement, int64_t otherwise, int64_t *out,
                              mobiedit_error *err);
mobiedit_status me_sql_query_number(const me_ledger *l, const char *sql, int64_t otherwise, int64_t *out,
                                    mobiedit_error *err);

/* NULL is the empty text; a number that is not finite is 0. */
void me_sql_bind_text(sqlite3_stmt *statement, int at, const char *text);
void me_sql_bind_number(sqlite3_stmt *statement, int at, double value);

#endif
