/* The ledger's tables. */
#ifndef ME_STORE_LEDGER_SCHEMA_H
#define ME_STORE_LEDGER_SCHEMA_H

/* In PRAGMA application_id, "MEdt", and in PRAGMA user_version. */
enum { ME_LEDGER_APPLICATION = 0x4D456474, ME_LEDGER_VERSION = 3 };

/* What makes the tables of an empty database, and what makes version 3 of version 2. */
extern const char *const me_ledger_schema;
extern const char *const me_ledger_schema_from_2;

#endif
