/* HTTP for `mobiedit serve`, on civetweb: who may come in, sizes, headers, answers. */
#ifndef CLI_SERVE_HTTP_H
#define CLI_SERVE_HTTP_H

#include "base/json.h"
#include "serve/desk.h"

typedef struct http_server http_server;
typedef struct http_request http_request;

/* Listens on an address of this machine; port 0: a free one. A request that may come in is given to
 * route(desk, request), from several threads. Returns an exit status, not 0 after a one-line error. */
typedef void (*http_route_fn)(desk *d, http_request *request);
int http_open(const char *address, int port, http_route_fn route, desk *d, http_server **out);

/* Waits for requests under way; NULL is fine. */
void http_close(http_server *s);

/* The page's address, with the token. */
const char *http_url(const http_server *s);

/* The method, and the path behind the token's slash. */
const char *http_method(const http_request *r);
const char *http_path(const http_request *r);

/* The body as JSON, to be deleted by the caller; NULL after it was answered. */
cJSON *http_body(http_request *r);

/* Answers: once a request. http_send_json takes the JSON over. */
void http_send(http_request *r, int status, const char *type, const void *bytes, size_t n);
void http_send_json(http_request *r, int status, cJSON *json);
void http_send_error(http_request *r, int status, const char *kind, const char *message);
void http_send_file(http_request *r, const char *name, int fd); /* fd is closed */

/* An answer of JSON lines: each takes the JSON over. False once the client has gone. */
void http_begin_lines(http_request *r);
bool http_send_line(http_request *r, cJSON *json);
void http_end_lines(http_request *r);

#endif
