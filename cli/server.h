/* The adapters of a running llama-server, through its /lora-adapters endpoint, and its slots. Beside ggml's
 * own RPC backend the only code that uses the network. */
#ifndef CLI_SERVER_H
#define CLI_SERVER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int id;
    char *path; /* as the server was told at its start */
    double scale;
} served_adapter;

typedef struct {
    served_adapter *items;
    size_t n;
} served_adapters;

/* What GET /lora-adapters answers, from n bytes that are not trusted: [{"id": 0, "path": "...", "scale": 1}].
 * False where they are something else, or out of memory; *out is then empty. Freed with served_free. */
bool served_parse(const char *text, size_t n, served_adapters *out);
void served_free(served_adapters *adapters);

/* The number of slots that GET /props answers, {"total_slots": 4}, from n bytes that are not trusted; -1 if
 * they say none. */
int served_slots(const char *text, size_t n);

/* Whether a path that the server tells is that of `file`: the same text, the same absolute path, or relative
 * and the end of it. */
bool served_is(const char *path, const char *file);

/* An http or https server. Every call prints its one-line error and returns an exit status. */
typedef struct server server;
int server_open(const char *url, server **out);
void server_close(server *s);
int server_get(server *s, served_adapters *out);
/* Sets the scale of each adapter to that of the list. */
int server_set(server *s, const served_adapters *adapters);

/* Makes the server forget what its slots keep of prompts: their number, or -1 if it does not let us. That is
 * no error, and prints nothing. */
int server_erase_slots(server *s);

#endif
