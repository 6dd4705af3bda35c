/* HTTP for `mobiedit serve`: a thin layer on civetweb that lets in only the page that the program made itself. */
#define _GNU_SOURCE
#include "serve/http.h"

#include "base/memory.h"
#include "serve/requests.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TOKEN_BYTES = 16,
    MAX_HOST = 64,
    MAX_ADDRESS = 128,
    MAX_DRAINED = 64 << 20 /* bytes of a body that is refused, so that the client hears why */
};

struct http_server {
    struct mg_context *context;
    http_route_fn route;
    desk *desk;
    char token[2 * TOKEN_BYTES + 1];
    char host[MAX_HOST], local_host[MAX_HOST]; /* "127.0.0.1:8080", "localhost:8080" */
    char url[MAX_ADDRESS];
    pthread_mutex_t lock;
    char trouble[200]; /* what civetweb said last */
};

struct http_request {
    http_server *server;
    struct mg_connection *connection;
    const struct mg_request_info *info;
    const char *path;
};

/* The page takes nothing from elsewhere, tells nobody where it is, and is in no other page's frame. */
static const char security_headers[] =
    "Cache-Control: no-store\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "Connection: close\r\n";

/* ---- answers ------------------------------------------------------------------------------------------- */

static const char *reason_of(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 202:
        return "Accepted";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

void http_send(http_request *r, int status, const char *type, const void *bytes, size_t n) {
    (void)mg_printf(r->connection, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n",
                    status, reason_of(status), type, n, security_headers);
    if (strcmp(r->info->request_method, "HEAD") != 0) (void)mg_write(r->connection, bytes, n);
}

void http_send_json(http_request *r, int status, cJSON *json) {
    static const char failed[] = "{\"error\":{\"kind\":\"memory\",\"message\":\"out of memory\"}}";
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    cJSON_Delete(json);
    http_send(r, text ? status : 500, "application/json", text ? text : failed, strlen(text ? text : failed));
    cJSON_free(text);
}

static cJSON *error_json(const char *kind, const char *message) {
    cJSON *object = cJSON_CreateObject(), *error = cJSON_AddObjectToObject(object, "error");
    me_json_add_text(error, "kind", kind);
    me_json_add_text(error, "message", message);
    return object;
}

void http_send_error(http_request *r, int status, const char *kind, const char *message) {
    http_send_json(r, status, error_json(kind, message));
}

void http_send_file(http_request *r, const char *name, int fd) {
    struct stat info;
    char bytes[1 << 16];
    ssize_t n = 0;
    if (fstat(fd, &info) != 0) {
        http_send_error(r, 500, "io", strerror(errno));
    } else {
        (void)mg_printf(
            r->connection,
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %lld\r\n"
            "Content-Disposition: attachment; filename=\"%s\"\r\n%s\r\n",
            (long long)info.st_size, name, security_headers);
        while ((n = read(fd, bytes, sizeof bytes)) > 0 && mg_write(r->connection, bytes, (size_t)n) > 0)
            ;
    }
    (void)close(fd);
}

void http_begin_lines(http_request *r) {
    (void)mg_printf(
        r->connection,
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n%s\r\n",
        security_headers);
}

bool http_send_line(http_request *r, cJSON *json) {
    char *text = json ? cJSON_PrintUnformatted(json) : NULL;
    char *line = text ? me_strjoin(text, "\n") : NULL;
    const bool sent = line && mg_send_chunk(r->connection, line, (unsigned)strlen(line)) > 0;
    me_free(line);
    cJSON_free(text);
    cJSON_Delete(json);
    return sent;
}

void http_end_lines(http_request *r) {
    (void)mg_send_chunk(r->connection, "", 0);
}

/* ---- bodies -------------------------------------------------------------------------------------------- */

/* Reads on what the client still sends: closed at once, the connection would be reset, and the answer lost. */
static void drain(http_request *r) {
    char bytes[1 << 14];
    long long left = MAX_DRAINED;
    for (int n; left > 0 && (n = mg_read(r->connection, bytes, sizeof bytes)) > 0;)
        left -= n;
}

static cJSON *refuse_body(http_request *r, int status, const char *kind, const char *message) {
    http_send_error(r, status, kind, message);
    drain(r);
    return NULL;
}

static bool is_json(const char *type) {
    static const char json[] = "application/json";
    const size_t n = sizeof json - 1;
    return type && strncasecmp(type, json, n) == 0 && (type[n] == '\0' || type[n] == ';' || type[n] == ' ');
}

static cJSON *parse_body(http_request *r, const char *bytes, size_t n) {
    cJSON *json = NULL;
    mobiedit_error err = {0};
    if (me_json_parse(bytes, n, "the body", &json, &err) == MOBIEDIT_OK) return json;
    http_send_error(r, 400, mobiedit_status_name(err.status), err.message);
    return NULL;
}

cJSON *http_body(http_request *r) {
    const long long length = r->info->content_length;
    if (!is_json(mg_get_header(r->connection, "Content-Type")))
        return refuse_body(r, 415, "argument", "the body must be application/json");
    if (length < 0) return refuse_body(r, 411, "argument", "the body's length is not told");
    if (length > REQUEST_MAX_BODY) return refuse_body(r, 413, "argument", "the body is larger than 256 KiB");
    char *bytes = me_calloc((size_t)length + 1, 1);
    size_t n = 0;
    if (!bytes) return refuse_body(r, 500, "memory", "out of memory");
    for (int got; n < (size_t)length && (got = mg_read(r->connection, bytes + n, (size_t)length - n)) > 0;)
        n += (size_t)got;
    cJSON *json = n == (size_t)length ? parse_body(r, bytes, n)
                                      : refuse_body(r, 400, "argument", "the body is cut off");
    me_free(bytes);
    return json;
}

/* ---- who may come in ----------------------------------------------------------------------------------- */

/* A page elsewhere can have a name of its own lead to this machine; its requests then name that in `Host`. */
static bool is_our_host(const http_server *s, const char *host) {
    return host && (strcasecmp(host, s->host) == 0 || strcasecmp(host, s->local_host) == 0);
}

/* A browser says which page asks wherever that is not the same one. */
static bool is_our_origin(const http_server *s, const char *origin) {
    static const char scheme[] = "http://";
    if (!origin) return true;
    return strncmp(origin, scheme, sizeof scheme - 1) == 0 && is_our_host(s, origin + sizeof scheme - 1);
}

/* The same time whatever is wrong with it. */
static bool has_token(const http_server *s, const char *path) {
    const size_t n = strlen(s->token);
    unsigned differ = 0;
    if (strlen(path) < n + 2 || path[0] != '/' || path[n + 1] != '/') return false;
    for (size_t i = 0; i < n; i++)
        differ |= (unsigned)(unsigned char)path[i + 1] ^ (unsigned)(unsigned char)s->token[i];
    return differ == 0;
}

static bool may_come_in(http_request *r) {
    const http_server *s = r->server;
    const char *path = r->info->local_uri, *why = NULL;
    if (!is_our_host(s, mg_get_header(r->connection, "Host")))
        why = "this is not the address that the program listens on";
    else if (!is_our_origin(s, mg_get_header(r->connection, "Origin")))
        why = "requests of other pages are refused";
    else if (!path || !has_token(s, path))
        why = "the token is missing or wrong: open the address that mobiedit serve has printed";
    if (why) (void)refuse_body(r, 403, "forbidden", why);
    return !why;
}

static void *answer_request(void *user) {
    http_request *r = user;
    if (may_come_in(r)) {
        r->path = r->info->local_uri + strlen(r->server->token) + 2;
        r->server->route(r->server->desk, r);
    }
    return NULL;
}

/* Civetweb's threads have stacks of 100 KiB: too few for the depth of JSON that cJSON takes. */
static int on_request(struct mg_connection *connection) {
    const struct mg_request_info *info = mg_get_request_info(connection);
    http_request r = {.server = info->user_data, .connection = connection, .info = info};
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer_request, &r) == 0)
        (void)pthread_join(thread, NULL);
    else
        http_send_error(&r, 503, "memory", "the system starts no more threads");
    return 200; /* answered, whatever is logged */
}

const char *http_method(const http_request *r) {
    return r->info->request_method;
}

const char *http_path(const http_request *r) {
    return r->path;
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static int on_message(const struct mg_connection *connection, const char *message) {
    const struct mg_context *context = mg_get_context(connection);
    http_server *s = context ? mg_get_user_data(context) : NULL;
    if (s) {
        (void)pthread_mutex_lock(&s->lock);
        (void)snprintf(s->trouble, sizeof s->trouble, "%s", message);
        (void)pthread_mutex_unlock(&s->lock);
    }
    return 1; /* nothing is logged */
}

static bool make_token(http_server *s) {
    unsigned char bytes[TOKEN_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(s->token + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

/* The port that the system chose, if it was asked to. */
static int port_of(const http_server *s) {
    struct mg_server_port ports[1];
    return mg_get_server_ports(s->context, 1, ports) == 1 ? ports[0].port : 0;
}

static int start(http_server *s, const char *address, int port) {
    char listening[MAX_HOST];
    const char *settings[] = {"listening_ports",
                              listening,
                              "num_threads",
                              "12",
                              "request_timeout_ms",
                              "20000",
                              "enable_keep_alive",
                              "no",
                              "tcp_nodelay",
                              "1",
                              NULL};
    const struct mg_callbacks callbacks = {.begin_request = on_request, .log_message = on_message};
    (void)snprintf(listening, sizeof listening, "%s:%d", address, port);
    s->context = mg_start(&callbacks, s, settings);
    if (!s->context)
        return complain(STATUS_SERVER, "cannot listen on %s%s%s", listening, *s->trouble ? ": " : "",
                        s->trouble);
    port = port_of(s);
    (void)snprintf(s->host, sizeof s->host, "%s:%d", address, port);
    (void)snprintf(s->local_host, sizeof s->local_host, "localhost:%d", port);
    (void)snprintf(s->url, sizeof s->url, "http://%s/%s/", s->host, s->token);
    return STATUS_DONE;
}

int http_open(const char *address, int port, http_route_fn route, desk *d, http_server **out) {
    struct in_addr parsed;
    if (inet_pton(AF_INET, address, &parsed) != 1 || parsed.s_addr == htonl(INADDR_ANY))
        return complain(STATUS_USAGE,
                        "--listen: \"%s\" is not one address of this machine, such as 127.0.0.1", address);
    http_server *s = me_calloc(1, sizeof *s);
    if (!s) return complain(STATUS_MEMORY, "out of memory");
    s->route = route;
    s->desk = d;
    (void)pthread_mutex_init(&s->lock, NULL);
    int status = make_token(s) ? STATUS_DONE : complain(STATUS_RUNTIME, "the system gives no random numbers");
    if (status == STATUS_DONE) status = start(s, address, port);
    if (status == STATUS_DONE)
        *out = s;
    else
        http_close(s);
    return status;
}

void http_close(http_server *s) {
    if (!s) return;
    if (s->context) mg_stop(s->context);
    (void)pthread_mutex_destroy(&s->lock);
    me_free(s);
}

const char *http_url(const http_server *s) {
    return s->url;
}
