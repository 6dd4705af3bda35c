/* One recorded edit, as mobiedit_ledger_edit and mobiedit_ledger_import both make it. */
#ifndef ME_API_RECORD_H
#define ME_API_RECORD_H

#include "api/active_edits.h"

typedef struct {
    const me_prompt *prompt; /* of `request`, parsed */
    const mobiedit_request *request;
    const mobiedit_edit_options *options;
    const char *output; /* NULL: none */
    bool with_texts;
    bool alone; /* verified beside the subject's other edits only */
} me_record_request;

/* As mobiedit_ledger_edit says, but for writing `output` where nothing was solved. */
mobiedit_status me_record_edit(mobiedit_ledger *ledger, const me_record_request *ask,
                               mobiedit_edit_result *result, mobiedit_change *change, mobiedit_error *err);

#endif
