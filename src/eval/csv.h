/* Facts as CSV (RFC 4180: fields in quotes where they need it, quotes doubled inside quotes), UTF-8, with a
 * header. Columns prompt and target are needed, in any order and any case; subject too, unless the prompts
 * have their subject in braces. Columns whose name begins with "also" have the fact in other words. Others are
 * ignored. The first comma, semicolon or tab of the header is what
 * all fields are cut at; lines end in LF, CR LF or CR. Spaces around a field do not count, those inside its
 * quotes do. The file is untrusted: sizes are those of fact.h, and the message of a refusal names the
 * line. */
#ifndef ME_EVAL_CSV_H
#define ME_EVAL_CSV_H

#include "eval/fact.h"

/* Facts of `length` bytes of text, maybe none; `name` stands for the file in messages. The hash is left as it
 * is. E_FORMAT, E_MEMORY; on failure *out is empty. Free with me_dataset_free. */
mobiedit_status me_csv_parse(const char *text, size_t length, const char *name, me_dataset *out,
                             mobiedit_error *err);

#endif
