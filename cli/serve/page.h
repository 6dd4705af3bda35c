/* The files of the page, compiled in (cmake/embed.cmake). */
#ifndef CLI_SERVE_PAGE_H
#define CLI_SERVE_PAGE_H

#include <stddef.h>

typedef struct {
    const char *path, *type;
    const unsigned char *bytes;
    size_t n;
} page_file;

extern const page_file page_files[]; /* ended by one whose path is NULL */

#endif
