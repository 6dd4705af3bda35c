/* Names of the files of a split model: NAME-00001-of-00003.gguf and so on, as gguf-split writes them and
 * libllama looks for them. */
#ifndef ME_BASE_PARTS_H
#define ME_BASE_PARTS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int no, n;     /* part `no` of n, from 1 */
    size_t length; /* of the path in front of "-00001-of-..." */
} me_part_name;

/* Whether the path is named like a part. */
bool me_part_name_read(const char *path, me_part_name *out);

/* The path of part `no`, from 1, of the model that `path`, whose name is `name`, is a part of. Freed with
 * me_free; NULL: out of memory. */
char *me_part_path(const char *path, const me_part_name *name, int no);

#endif
