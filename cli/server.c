/* Talks to a llama-server over HTTP: lists its adapters, sets their scales, erases its slots; and has a router read
 * its preset again, and end and begin a model. */
#include "server.h"

#include "command.h"

#include <cJSON.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ADAPTERS[] = "/lora-adapters", MODELS[] = "/models", RELOAD[] = "/models?reload=1";
enum { ENDPOINT_MAX = 64 };
/* Lists of adapters and of models are short; a server that sends more, or does not answer, is none that we know.
 * A router answers after the models that it ends have ended: by itself it gives each of them ten seconds. */
enum { MAX_ANSWER = 1 << 20, CONNECT_SECONDS = 5, ALL_SECONDS = 30, RELOAD_SECONDS = 120 };

struct server {
    CURL *curl;
    struct curl_slist *headers;
    char *url; /* of the endpoint in use */
    size_t n_base;
    char *answer; /* [MAX_ANSWER] */
    size_t n_answer;
    char why[CURL_ERROR_SIZE];
};

static size_t keep_answer(const char *bytes, size_t size, size_t n, void *user) {
    server *s = user;
    n *= size;
    if (n > MAX_ANSWER - s->n_answer) return 0; /* which ends the transfer */
    memcpy(s->answer + s->n_answer, bytes, n);
    s->n_answer += n;
    return n;
}

/* llama-server's own variable, for servers that were started with a key. */
static bool add_headers(server *s) {
    const char *key = getenv("LLAMA_API_KEY");
    s->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!s->headers || !key || !*key) return s->headers != NULL;
    const size_t size = strlen(key) + sizeof "Authorization: Bearer ";
    char *header = malloc(size);
    if (!header) return false;
    (void)snprintf(header, size, "Authorization: Bearer %s", key);
    struct curl_slist *more = curl_slist_append(s->headers, header);
    free(header);
    return more != NULL;
}

static void set_options(server *s) {
    (void)curl_easy_setopt(s->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(s->curl, CURLOPT_FOLLOWLOCATION, 0L);
    (void)curl_easy_setopt(s->curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    (void)curl_easy_setopt(s->curl, CURLOPT_TIMEOUT, (long)ALL_SECONDS);
    (void)curl_easy_setopt(s->curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(s->curl, CURLOPT_HTTPHEADER, s->headers);
    (void)curl_easy_setopt(s->curl, CURLOPT_ERRORBUFFER, s->why);
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, keep_answer);
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    (void)curl_easy_setopt(s->curl, CURLOPT_USERAGENT, "mobiedit/" MOBIEDIT_VERSION);
}

int server_open(const char *url, server **out) {
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return complain(STATUS_USAGE, "%s is not the address of a server such as http://localhost:8080", url);
    server *s = calloc(1, sizeof *s);
    size_t n = strlen(url);
    while (url[n - 1] == '/')
        n--;
    if (s) s->url = malloc(n + ENDPOINT_MAX);
    if (s) s->answer = malloc(MAX_ANSWER);
    if (s) s->curl = curl_easy_init();
    if (!s || !s->url || !s->answer || !s->curl || !add_headers(s)) {
        server_close(s);
        return complain(STATUS_MEMORY, "out of memory for the connection");
    }
    (void)snprintf(s->url, n + ENDPOINT_MAX, "%.*s", (int)n, url);
    s->n_base = n;
    set_options(s);
    *out = s;
    return STATUS_DONE;
}

void server_close(server *s) {
    if (!s) return;
    if (s->curl) curl_easy_cleanup(s->curl);
    curl_slist_free_all(s->headers);
    free(s->url);
    free(s->answer);
    free(s);
}

/* One request, a POST if there is a body, with the answer in s->answer and the server's status in *code. */
static CURLcode transfer(server *s, const char *endpoint, const char *body, long *code) {
    (void)snprintf(s->url + s->n_base, ENDPOINT_MAX, "%s", endpoint);
    (void)curl_easy_setopt(s->curl, CURLOPT_URL, s->url);
    (void)curl_easy_setopt(s->curl, CURLOPT_POSTFIELDS, body);
    if (!body) (void)curl_easy_setopt(s->curl, CURLOPT_HTTPGET, 1L);
    *code = 0;
    s->n_answer = 0;
    s->why[0] = '\0';
    const CURLcode failed = curl_easy_perform(s->curl);
    (void)curl_easy_getinfo(s->curl, CURLINFO_RESPONSE_CODE, code);
    return failed;
}

/* The same; anything but 200 is an error. `what` lists the endpoint. */
static int request(server *s, const char *endpoint, const char *what, const char *body) {
    long code;
    const CURLcode failed = transfer(s, endpoint, body, &code);
    if (failed == CURLE_WRITE_ERROR)
        return complain(STATUS_SERVER, "%s answers with more than a list of %s", s->url, what);
    if (failed)
        return complain(STATUS_SERVER, "cannot reach %s: %s", s->url,
                        *s->why ? s->why : curl_easy_strerror(failed));
    if (code == 200) return STATUS_DONE;
    if (code >= 300 && code < 400)
        return complain(STATUS_SERVER, "%s redirects elsewhere, and redirects are not followed", s->url);
    if (code == 401 || code == 403)
        return complain(STATUS_SERVER, "%s requires a key: set LLAMA_API_KEY (status %ld)", s->url, code);
    return complain(STATUS_SERVER, "%s refused: status %ld", s->url, code);
}

int server_get(server *s, served_adapters *out) {
    const int status = request(s, ADAPTERS, "adapters", NULL);
    if (status != STATUS_DONE) return status;
    if (served_parse(s->answer, s->n_answer, out)) return STATUS_DONE;
    return complain(STATUS_SERVER, "%s does not answer with a list of adapters: is it a llama-server?",
                    s->url);
}

static char *make_request(const served_adapters *adapters) {
    cJSON *list = cJSON_CreateArray();
    for (size_t i = 0; i < adapters->n; i++) {
        cJSON *item = cJSON_CreateObject();
        (void)cJSON_AddNumberToObject(item, "id", adapters->items[i].id);
        (void)cJSON_AddNumberToObject(item, "scale", adapters->items[i].scale);
        (void)cJSON_AddItemToArray(list, item);
    }
    char *text = cJSON_PrintUnformatted(list);
    cJSON_Delete(list);
    return text;
}

int server_set(server *s, const served_adapters *adapters) {
    char *text = make_request(adapters);
    if (!text) return complain(STATUS_MEMORY, "out of memory for the request");
    const int status = request(s, ADAPTERS, "adapters", text);
    cJSON_free(text);
    return status;
}

int server_erase_slots(server *s) {
    long code;
    char endpoint[ENDPOINT_MAX];
    if (transfer(s, "/props", NULL, &code) || code != 200) return -1;
    const int n = served_slots(s->answer, s->n_answer);
    for (int i = 0; i < n; i++) {
        (void)snprintf(endpoint, sizeof endpoint, "/slots/%d?action=erase", i);
        if (transfer(s, endpoint, "{}", &code) || code != 200) return -1;
    }
    return n;
}

/* ---- a router ---------------------------------------------------------------------------------------- */

int server_find_model(server *s, bool reload, const char *name, served_model *out) {
    (void)curl_easy_setopt(s->curl, CURLOPT_TIMEOUT, (long)(reload ? RELOAD_SECONDS : ALL_SECONDS));
    const int status = request(s, reload ? RELOAD : MODELS, "models", NULL);
    (void)curl_easy_setopt(s->curl, CURLOPT_TIMEOUT, (long)ALL_SECONDS);
    if (status != STATUS_DONE) return status;
    if (served_model_parse(s->answer, s->n_answer, name, out)) return STATUS_DONE;
    return complain(
        STATUS_SERVER,
        "%s does not list models as a router does: is it a llama-server that was started without a "
        "model?",
        s->url);
}

static int order(server *s, const char *endpoint, const char *name) {
    cJSON *object = cJSON_CreateObject();
    (void)cJSON_AddStringToObject(object, "model", name);
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (!text) return complain(STATUS_MEMORY, "out of memory for the request");
    const int status = request(s, endpoint, "models", text);
    cJSON_free(text);
    return status;
}

int server_load_model(server *s, const char *name) {
    return order(s, "/models/load", name);
}

int server_unload_model(server *s, const char *name) {
    return order(s, "/models/unload", name);
}
