/* Fuzzes the editor of a router's preset: any bytes are refused, or give a file that has the model's section, is changed no
 * more by the same request, and keeps each line of another section, in order. */
#include "../../cli/preset.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const preset_request *request, const char *text, size_t n) {
    preset_change change, again;
    mobiedit_error err = {0};
    if (preset_put(text, n, request, &change, &err) != MOBIEDIT_OK) {
        if (err.status == MOBIEDIT_OK || strchr(err.message, '\n') || change.text) abort();
        return;
    }
    char *whole = me_strndup(change.text, change.n);
    if (!whole || !strstr(whole, request->adapter)) abort();
    if (change.made && !strstr(whole, "[edited]")) abort();
    if (preset_put(whole, change.n, request, &again, NULL) != MOBIEDIT_OK || again.made) abort();
    if (again.n != change.n || memcmp(again.text, change.text, again.n) != 0) abort();
    if (change.made && (change.n < n || memcmp(change.text, text, n) != 0)) abort();
    me_free(whole);
    preset_free(&again);
    preset_free(&change);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = me_strndup((const char *)data, size);
    if (!text) return 0;
    check(&(preset_request){.name = "edited",
                            .adapter = "/m/facts.gguf",
                            .source = PRESET_FILE,
                            .model = "/m/q.gguf",
                            .unedited = "q"},
          text, size);
    check(
        &(preset_request){
            .name = "edited", .adapter = "/m/facts.gguf", .source = PRESET_HUB, .model = "a/b:Q8"},
        text, size);
    check(&(preset_request){.name = "edited", .adapter = "/m/facts.gguf", .source = PRESET_KEEP, .model = ""},
          text, size);
    me_free(text);
    return 0;
}
