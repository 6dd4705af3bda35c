/* mobiedit serve */
#define _POSIX_C_SOURCE 200809L
#include "json.h"
#include "options.h"
#include "output.h"
#include "serve/routes.h"

#include <poll.h>
#include <stdio.h>

static const option_row TABLE[] = {OPTION_ROW_LEDGER,
                                   {.name = "listen",
                                    .kind = OPTION_TEXT,
                                    .at = offsetof(options, listen),
                                    .help = "this machine's address to listen on (127.0.0.1)",
                                    .value = "ADDRESS"},
                                   {.name = "port",
                                    .kind = OPTION_INT,
                                    .at = offsetof(options, port),
                                    .most = 65535,
                                    .help = "the port to listen on (a free one)",
                                    .value = "N"},
                                   OPTION_ROW_DESCRIBE,
                                   OPTION_ROW_END};

static int tell(const options *o, const char *url) {
    if (o->json) {
        cJSON *object = cJSON_CreateObject();
        me_json_add_text(object, "url", url);
        const int status = json_print(object, STATUS_DONE);
        return output_arrived() ? status : STATUS_FILE;
    }
    print_line("%s", url);
    if (!o->quiet)
        print_line(
            "Open this address in a browser on this machine. Ctrl-C ends the program; edits are kept.");
    return output_arrived() ? STATUS_DONE : STATUS_FILE;
}

/* A signal that comes in between two looks is seen at the next. */
static void await_interrupt(void) {
    enum { MILLISECONDS = 200 };
    while (!interrupted())
        (void)poll(NULL, 0, MILLISECONDS);
}

static int serve(const options *o, desk *d) {
    http_server *server = NULL;
    int status = http_open(o->listen ? o->listen : "127.0.0.1", o->port, route_request, d, &server);
    if (status == STATUS_DONE) status = tell(o, http_url(server));
    if (status == STATUS_DONE) await_interrupt();
    desk_stop(d);
    http_close(server);
    return status;
}

static int run(const options *o) {
    desk *d = NULL;
    int status = desk_open(o, &d);
    if (status == STATUS_DONE) status = serve(o, d);
    desk_close(d);
    return status;
}

const command command_serve = {.name = "serve",
                               .usage = "MODEL.gguf [--port N] [OPTION...]",
                               .summary = "serves a page to talk with the model and to correct it",
                               .arguments = {{"MODEL.gguf", FILE_MODEL}},
                               .options = {TABLE, options_solving, options_running},
                               .run = run};
