/* chat_prompt MODEL.gguf ROLE TEXT ...              prints the numbers of the messages' tokens, one a line
 * chat_prompt TEMPLATE.jinja BOS EOS ROLE TEXT ...  prints the messages' text, nothing taken off */
#include "base/file.h"
#include "base/memory.h"
#include "model/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MESSAGES = 32 };

static size_t read_messages(char **args, me_chat_message *messages) {
    size_t n = 0;
    for (; args[0] && args[1] && n < MAX_MESSAGES; args += 2)
        messages[n++] = (me_chat_message){.role = args[0], .content = args[1]};
    return n;
}

static mobiedit_status print_tokens(const char *path, char **args, mobiedit_error *err) {
    me_chat_message messages[MAX_MESSAGES];
    me_vocab *vocab = NULL;
    char *text = NULL;
    me_tokens tokens = {0};
    mobiedit_status status = me_vocab_open(path, &vocab, err);
    if (status == MOBIEDIT_OK)
        status = me_vocab_chat(vocab, messages, read_messages(args, messages), &text, err);
    if (status == MOBIEDIT_OK) status = me_tokenize(vocab, text, &tokens, err);
    for (int i = 0; i < tokens.n; i++)
        (void)printf("%d\n", tokens.ids[i]);
    me_tokens_free(&tokens);
    me_free(text);
    me_vocab_close(vocab);
    return status;
}

static mobiedit_status print_text(const char *path, char **args, mobiedit_error *err) {
    enum { MAX_TEMPLATE = 1 << 20 };
    me_chat_message messages[MAX_MESSAGES];
    char *source = NULL, *text = NULL;
    size_t n = 0;
    mobiedit_status status = me_read_file(path, MAX_TEMPLATE, &source, &n, err);
    const me_template_input input = {.source = source,
                                     .bos = args[0],
                                     .eos = args[1],
                                     .messages = messages,
                                     .n_messages = read_messages(args + 2, messages)};
    if (status == MOBIEDIT_OK) status = me_template_render(&input, &text, err);
    if (text) (void)fputs(text, stdout);
    me_free(text);
    me_free(source);
    return status;
}

int main(int argc, char **argv) {
    mobiedit_error err = {0};
    const char *end = argc > 1 ? strrchr(argv[1], '.') : NULL;
    mobiedit_status status = MOBIEDIT_E_ARGUMENT;
    if (end && strcmp(end, ".gguf") == 0) status = print_tokens(argv[1], argv + 2, &err);
    if (end && strcmp(end, ".jinja") == 0 && argc > 3) status = print_text(argv[1], argv + 2, &err);
    if (status != MOBIEDIT_OK) (void)fprintf(stderr, "%s\n", err.message);
    return status == MOBIEDIT_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
