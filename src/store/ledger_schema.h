/* The ledger's tables, and how older ones become the present ones. */
#ifndef ME_STORE_LEDGER_SCHEMA_H
#define ME_STORE_LEDGER_SCHEMA_H

#include "base/error.h"

/* In PRAGMA application_id: "MEdt". */
enum { ME_LEDGER_APPLICATION = 0x4D456474 };

/* Statement i brings a ledger of version i (PRAGMA user_version) to version i + 1. */
extern const char *const me_ledger_migrations[];
extern const int me_ledger_version; /* the present one */

#endif
