/* What the exit statuses say. This table is the only place that knows them: --help prints it, and a test
 * holds the man page to it. */
#ifndef CLI_STATUS_H
#define CLI_STATUS_H

/* X(name, number, the word for it in JSON, what it says) */
#define EXIT_STATUSES(X)                                                                                     \
    X(STATUS_DONE, 0, "ok", "done; also if the model already says the target by itself")                     \
    X(STATUS_NOT_EDITED, 1, "not edited", "no edit was found, or libllama does not say the target with it")  \
    X(STATUS_USAGE, 2, "argument", "the command line is wrong, or the request is invalid")                   \
    X(STATUS_FILE, 3, "io", "a file cannot be read or written, or is damaged")                               \
    X(STATUS_UNSUPPORTED, 4, "unsupported", "the model is of a kind that is not supported")                  \
    X(STATUS_MISMATCH, 5, "mismatch",                                                                        \
      "the adapter or the ledger belongs to another model, or an evaluation's state to other settings")      \
    X(STATUS_MEMORY, 6, "memory", "out of memory, or of the memory budget")                                  \
    X(STATUS_RUNTIME, 7, "runtime", "libllama failed")                                                       \
    X(STATUS_SERVER, 8, "server", "a server cannot be reached, or does not do what was asked")               \
    X(STATUS_INTERRUPTED, 130, "interrupted", "interrupted")                                                 \
    X(STATUS_TERMINATED, 143, "terminated", "terminated")

#define EXIT_STATUS_NAME(name, number, word, text) name = (number),
enum { EXIT_STATUSES(EXIT_STATUS_NAME) };
#undef EXIT_STATUS_NAME

#endif
