/* Checked writing, and what the process has used. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/memory.h"
#include "base/usage.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static void put(const char *zone, const char *file, const char *text) {
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/%s", scratch_folder, zone);
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    (void)snprintf(path, sizeof path, "%s/%s/%s", scratch_folder, zone, file);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_true(me_write_all(fd, text, strlen(text)));
    assert_int_equal(close(fd), 0);
}

static void writing_to_a_full_device_fails(void **state) {
    (void)state;
    int fd = open("/dev/full", O_WRONLY);
    if (fd < 0) skip();
    assert_false(me_write_all(fd, "text", 4));
    assert_int_equal(errno, ENOSPC);
    close(fd);
}

static void only_regular_files_open(void **state) {
    (void)state;
    FILE *file = NULL;
    uint64_t size;
    mobiedit_error err;
    assert_int_equal(me_open_file(scratch_folder, &file, &size, &err), MOBIEDIT_E_IO);
    assert_int_equal(me_open_file("/dev/null", &file, &size, &err), MOBIEDIT_E_IO);
    assert_int_equal(me_open_file("/no/such/file", &file, &size, &err), MOBIEDIT_E_IO);
    assert_non_null(strstr(err.message, "/no/such/file"));
    assert_null(file);
    put("plain", "file", "four\nmore");
    char path[PATH_MAX], line[8];
    (void)snprintf(path, sizeof path, "%s/plain/file", scratch_folder);
    assert_int_equal(me_open_file(path, &file, &size, &err), MOBIEDIT_OK);
    assert_int_equal(size, 9);
    assert_int_equal(fclose(file), 0);
    assert_true(me_read_line(path, line, sizeof line));
    assert_string_equal(line, "four");
    assert_false(me_read_line(path, line, 4));
    assert_string_equal(me_base_name(path), "file");
    assert_string_equal(me_base_name("file"), "file");
}

static void time_and_memory_grow(void **state) {
    (void)state;
    enum { BYTES = 32 << 20 };
    double wall = me_wall_seconds(), cpu = me_cpu_seconds();
    size_t before = me_peak_rss_bytes();
    assert_true(before > 100000);
    volatile char *memory = malloc(BYTES);
    assert_non_null(memory);
    unsigned sum = 0;
    for (int round = 0; me_cpu_seconds() < cpu + 0.02; round++)
        for (size_t i = 0; i < BYTES; i += 4096)
            sum += (unsigned)(memory[i] = (char)round);
    assert_true(sum != 1);
    free((void *)memory);
    assert_true(me_wall_seconds() > wall);
    /* The kernel counts pages a few at a time in each thread. */
    assert_true(me_peak_rss_bytes() >= before + BYTES / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writing_to_a_full_device_fails),
        cmocka_unit_test(only_regular_files_open),
        cmocka_unit_test(time_and_memory_grow),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
