/* Facts as CSV (RFC 4180: commas, quotes doubled inside quotes, lines ended by LF or CRLF), UTF-8, with a
 * header. Columns prompt and target are needed, in any order; subject too, unless the prompts have their
 * subject in braces. Others are ignored. The file is untrusted: sizes are those of dataset.h, and the message
 * of a refusal names the line. */
#ifndef ME_EVAL_CSV_H
#define ME_EVAL_CSV_H

#include "eval/dataset.h"

/* E_IO, E_FORMAT, E_MEMORY; on failure *out is empty. Free with me_dataset_free. */
mobiedit_status me_csv_read(const char *path, me_dataset *out, mobiedit_error *err);

/* The same from `length` bytes of text; `name` stands for the file in messages. */
mobiedit_status me_csv_parse(const char *text, size_t length, const char *name, me_dataset *out,
                             mobiedit_error *err);

#endif
