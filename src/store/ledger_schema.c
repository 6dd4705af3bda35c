/* The SQL of the ledger's tables. */
#include "store/ledger_schema.h"

/* serial: the ledger's generation when the record came into its state, which gives the last one its name;
 * hash: XXH3 of the record's content, since SQLite does not notice a flipped bit inside a value; the long
 * values last, so that the others are read without them */
#define TABLES_OF_3                                                                                          \
    "CREATE TABLE also ("                                                                                    \
    "  edit INTEGER NOT NULL REFERENCES edits (id) ON DELETE CASCADE,"                                       \
    "  place INTEGER NOT NULL, prompt TEXT NOT NULL, PRIMARY KEY (edit, place)) WITHOUT ROWID;"              \
    "CREATE TABLE chats ("                                                                                   \
    "  edit INTEGER PRIMARY KEY REFERENCES edits (id) ON DELETE CASCADE,"                                    \
    "  said INTEGER NOT NULL CHECK (said IN (-1, 0, 1)));"                                                   \
    "CREATE TABLE others ("                                                                                  \
    "  edit INTEGER NOT NULL REFERENCES edits (id) ON DELETE CASCADE,"                                       \
    "  place INTEGER NOT NULL, prompt TEXT NOT NULL, before TEXT NOT NULL, after TEXT NOT NULL,"             \
    "  unchanged INTEGER NOT NULL CHECK (unchanged IN (0, 1)), PRIMARY KEY (edit, place)) WITHOUT ROWID;"

#define AT_ANSWER "at_answer INTEGER NOT NULL DEFAULT 0 CHECK (at_answer IN (0, 1))"

const char *const me_ledger_schema_from_2 = "ALTER TABLE edits ADD COLUMN " AT_ANSWER ";" TABLES_OF_3;

const char *const me_ledger_schema =
    "CREATE TABLE about (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE edits ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  prompt TEXT NOT NULL, target TEXT NOT NULL,"
    "  state INTEGER NOT NULL CHECK (state IN (0, 1, 2)),"
    "  superseded_by INTEGER REFERENCES edits (id),"
    "  serial INTEGER NOT NULL,"
    "  layer INTEGER NOT NULL, " AT_ANSWER ","
    "  solver TEXT NOT NULL, seed INTEGER NOT NULL,"
    "  stop INTEGER NOT NULL, rounds INTEGER NOT NULL, loss REAL NOT NULL, delta_ratio REAL NOT NULL,"
    "  evaluations INTEGER NOT NULL, token_passes INTEGER NOT NULL, seconds REAL NOT NULL,"
    "  before TEXT NOT NULL, after TEXT NOT NULL,"
    "  holds INTEGER NOT NULL CHECK (holds IN (-1, 0, 1)),"
    "  created INTEGER NOT NULL, changed INTEGER NOT NULL, verified INTEGER NOT NULL,"
    "  hash INTEGER NOT NULL);"
    "CREATE TABLE vectors ("
    "  edit INTEGER PRIMARY KEY REFERENCES edits (id) ON DELETE CASCADE,"
    "  delta BLOB NOT NULL, keys BLOB NOT NULL);"
    "CREATE UNIQUE INDEX edits_active ON edits (prompt) WHERE state = 0;"
    "CREATE INDEX edits_fact ON edits (prompt, target);"
    "CREATE TABLE keeps ("
    "  edit INTEGER NOT NULL REFERENCES edits (id) ON DELETE CASCADE,"
    "  place INTEGER NOT NULL, prompt TEXT NOT NULL, PRIMARY KEY (edit, place)) WITHOUT ROWID;" TABLES_OF_3
    "INSERT INTO about VALUES ('generation', 0);";
