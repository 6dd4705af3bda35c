/* The ledger's tables, and how older ones become the present ones. */
#ifndef ME_STORE_LEDGER_SCHEMA_H
#define ME_STORE_LEDGER_SCHEMA_H

#include "store/ledger.h"

/* In PRAGMA application_id: "MEdt". */
enum { ME_LEDGER_APPLICATION = 0x4D456474 };

/* What brings a ledger of one version to the next, inside a transaction: first `step`, which does
 * what SQL cannot and may be NULL, then `sql`. */
typedef struct {
    mobiedit_status (*step)(me_ledger *ledger, mobiedit_error *err);
    const char *sql;
} me_ledger_migration;

/* Number i is for a ledger of version i (PRAGMA user_version). */
extern const me_ledger_migration me_ledger_migrations[];
extern const int me_ledger_version; /* the present one */

/* The step from version 1, whose keys were rows of d_ff floats, to 2: hashes of records without keys. Each
 * record is checked as version 1 wrote it first. E_FORMAT where one is damaged. */
mobiedit_status me_ledger_hash_without_keys(me_ledger *ledger, mobiedit_error *err);

#endif
