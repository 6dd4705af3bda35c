/* Fuzzes the reader of facts as CSV: any bytes either are refused with one line or give a sound data set. */
#include "base/memory.h"
#include "eval/csv.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    me_dataset facts = {0};
    mobiedit_error err = {0};
    if (me_csv_parse((const char *)data, size, "fuzz", &facts, &err) == MOBIEDIT_OK) {
        for (size_t i = 0; i < facts.n; i++) {
            char *request = me_fact_request_prompt(&facts.facts[i]);
            if (!request || !*facts.facts[i].subject || !*facts.facts[i].target) abort();
            me_free(request);
        }
    } else if (err.status == MOBIEDIT_OK || strchr(err.message, '\n')) {
        abort();
    }
    me_dataset_free(&facts);
    return 0;
}
