/* FNV-1a over bytes and over files. */
#include "base/hash.h"

#include "base/file.h"

#include <errno.h>
#include <string.h>

static const uint64_t BASIS = UINT64_C(0xcbf29ce484222325);

/* The hash of what gave `hash`, with n bytes more. */
static uint64_t hash_on(uint64_t hash, const void *bytes, size_t n) {
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
    return hash;
}

uint64_t me_hash(const void *bytes, size_t n) {
    return hash_on(BASIS, bytes, n);
}

mobiedit_status me_hash_file(const char *path, uint64_t *hash, mobiedit_error *err) {
    FILE *file = NULL;
    uint64_t size, sum = BASIS;
    char bytes[1 << 14];
    size_t n;
    ME_TRY(me_open_file(path, &file, &size, err));
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
        sum = hash_on(sum, bytes, n);
    const mobiedit_status status =
        ferror(file) ? me_fail(err, MOBIEDIT_E_IO, "cannot read %s: %s", path, strerror(errno)) : MOBIEDIT_OK;
    (void)fclose(file);
    if (status == MOBIEDIT_OK) *hash = sum;
    return status;
}
