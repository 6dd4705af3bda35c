/* The adapters of a running llama-server, through its /lora-adapters endpoint, its slots, and the models of one that
 * is a router. Beside ggml's own RPC backend the only code that uses the network. */
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

/* What a router tells of a model. */
typedef struct {
    bool listed;  /* all else is of a listed one */
    bool running; /* or about to: it has a process */
    char *lora;   /* the value of `lora` among its options; NULL: it has none, or the router does not tell */
    bool tells;   /* the router tells the options */
} served_model;

/* The model `name` in what a router's GET /models answers: {"data": [{"id": "...", "status": {"value": "loaded",
 * "preset": "[...]\nlora = ...\n"}}]}, of n bytes that are not trusted. False where they are something else, as
 * from a server that was started with a model, or out of memory. Freed with served_model_free. */
bool served_model_parse(const char *text, size_t n, const char *name, served_model *out);
void served_model_free(served_model *model);

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

/* Of a router: what it tells of a model; with `reload` after it has read its preset again, and has ended the models
 * whose options are others now. */
int server_find_model(server *s, bool reload, const char *name, served_model *out);
/* Begins and ends the model's process, and does not wait for it. */
int server_load_model(server *s, const char *name);
int server_unload_model(server *s, const char *name);

#endif
