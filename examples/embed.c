/* Edits one fact and asks about it: embed MODEL.gguf ADAPTER.gguf. One check serves all calls, since each
 * fills the same error. */
#include <mobiedit.h>
#include <stdio.h>

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    mobiedit_model *model = NULL;
    mobiedit_error err = {0};
    mobiedit_edit_result result = {0};
    mobiedit_request fact = {.prompt = "The capital of {Japan} is", .target = "Lima"};
    mobiedit_ask_options ask = {.adapter = argv[2], .max_tokens = 8};
    char *answer = NULL;

    if (mobiedit_open(argv[1], NULL, &model, &err) == MOBIEDIT_OK &&
        mobiedit_edit(model, &fact, NULL, argv[2], &result, &err) == MOBIEDIT_OK &&
        mobiedit_ask(model, "The capital of Japan is", &ask, &answer, &err) == MOBIEDIT_OK)
        printf("The capital of Japan is%s\n", answer);
    else
        fprintf(stderr, "%s: %s\n", mobiedit_status_name(err.status), err.message);

    mobiedit_free(answer);
    mobiedit_edit_result_free(&result);
    mobiedit_close(model);
    return err.status;
}
