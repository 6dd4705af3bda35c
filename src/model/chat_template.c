/* Renders a model's chat template in a process with limits of its own. */
#define _GNU_SOURCE
#include "model/chat_template.h"

#include "base/child.h"
#include "base/memory.h"
#include "base/socket.h"
#include "model/jinja.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    CPU_SECONDS = 5,          /* published templates take about a millisecond */
    MEMORY_BYTES = 256 << 20, /* beyond what the process has */
    MAX_TEXT = 1 << 20,       /* what the tokenizer takes */
    MAX_REASON = 256
};

/* From the child, followed by n bytes. */
typedef struct {
    bool rendered;
    size_t n;
} answer;

/* ---- the child ----------------------------------------------------------------------------------------- */

static void send_answer(void *user, bool rendered, const char *bytes, size_t n) {
    const int *fd = user;
    const answer out = {.rendered = rendered, .n = n};
    if (me_send_all(*fd, &out, sizeof out) && n <= MAX_TEXT) (void)me_send_all(*fd, bytes, n);
}

static void serve(int fd, const me_template_input *input) {
    me_child_limit(CPU_SECONDS, MEMORY_BYTES);
    me_jinja_render(input, send_answer, &fd);
    _exit(0);
}

/* ---- the caller's side --------------------------------------------------------------------------------- */

/* The engine's own words, as one line: what is behind the last "Error: ", else the first line. */
static void shorten(const char *reason, char *line) {
    for (const char *next; (next = strstr(reason, "Error: "));)
        reason = next + strlen("Error: ");
    while (*reason == '\n')
        reason++;
    size_t n = 0;
    for (; reason[n] && reason[n] != '\n' && n < MAX_REASON - 1; n++)
        line[n] = (unsigned char)reason[n] < ' ' ? '?' : reason[n];
    line[n] = '\0';
}

static mobiedit_status fail_ended(int how, mobiedit_error *err) {
    if (WIFSIGNALED(how) && WTERMSIG(how) == SIGXCPU)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "the model's chat template does not end");
    return me_fail(
        err, MOBIEDIT_E_UNSUPPORTED,
        "the model's chat template ends its process: it nests too deeply, takes too much memory, or "
        "computes what cannot be computed");
}

static mobiedit_status take_text(char *text, const answer *head, mobiedit_error *err) {
    char reason[MAX_REASON];
    if (head->rendered && !memchr(text, '\0', head->n)) return MOBIEDIT_OK;
    if (head->rendered)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "the model's chat template makes a text with a zero byte");
    shorten(text, reason);
    return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "the model's chat template fails: %s", reason);
}

/* *ended: the child has ended before it told anything. */
static mobiedit_status receive(int fd, char **out, bool *ended, mobiedit_error *err) {
    answer head;
    *ended = !me_receive_all(fd, &head, sizeof head);
    if (*ended) return MOBIEDIT_OK;
    if (head.n > MAX_TEXT)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "the model's chat template makes a text of %zu bytes",
                       head.n);
    char *text = me_calloc(head.n + 1, 1);
    if (!text) return me_fail_memory(err, "the chat prompt");
    *ended = !me_receive_all(fd, text, head.n);
    const mobiedit_status status = *ended ? MOBIEDIT_OK : take_text(text, &head, err);
    if (*ended || status != MOBIEDIT_OK)
        me_free(text);
    else
        *out = text;
    return status;
}

mobiedit_status me_template_render(const me_template_input *input, char **out, mobiedit_error *err) {
    int pair[2];
    bool ended = false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return me_fail(err, MOBIEDIT_E_RUNTIME, "cannot make a socket: %s", strerror(errno));
    const pid_t child = fork();
    if (child == 0) serve(pair[1], input);
    (void)close(pair[1]);
    if (child < 0) {
        (void)close(pair[0]);
        return me_fail(err, MOBIEDIT_E_RUNTIME, "cannot start a process: %s", strerror(errno));
    }
    const mobiedit_status status = receive(pair[0], out, &ended, err);
    (void)close(pair[0]);
    const int how = me_child_wait(child);
    return ended ? fail_ended(how, err) : status;
}
