/* Fuzzes the reader of edit requests: the input's first line is the prompt, the rest the target. */
#include "edit/edit.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const me_prompt *prompt) {
    size_t length = strlen(prompt->text);
    if (prompt->subject_begin >= prompt->subject_end || prompt->subject_end > length) abort();
    if (!*prompt->target || strpbrk(prompt->text, "{}")) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = calloc(size + 2, 1);
    if (!text) return 0;
    if (size) memcpy(text, data, size);
    char *newline = strchr(text, '\n');
    if (newline) *newline = '\0';
    mobiedit_request request = {.prompt = text, .target = newline ? newline + 1 : ""};
    me_prompt prompt = {0};
    mobiedit_error err = {0};
    if (me_prompt_parse(&request, &prompt, &err) == MOBIEDIT_OK)
        check(&prompt);
    else if (err.status == MOBIEDIT_OK || strchr(err.message, '\n'))
        abort();
    me_prompt_free(&prompt);
    free(text);
    return 0;
}
