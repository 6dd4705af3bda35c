/* Models named by their repository, in made-up caches. */
#define _GNU_SOURCE
#include "hub.h"

#include "base/memory.h"
#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER "76543210fedcba9876543210fedcba9876543210"
#define REPO "models--some-User--A.Model_GGUF"
#define SNAPSHOT REPO "/snapshots/" COMMIT "/"

static const char NAME[] = "some-User/A.Model_GGUF";

/* ---- the caches ---------------------------------------------------------------------------------------- */

static void forget_settings(void) {
    static const char *const names[] = {"LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME",
                                        "XDG_CACHE_HOME"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(unsetenv(names[i]), 0);
    assert_int_equal(setenv("HOME", scratch_path("home"), 1), 0);
}

static void set(const char *name, const char *folder) {
    assert_int_equal(setenv(name, scratch_path(folder), 1), 0);
}

/* A file in the scratch folder, with the folders that it is in. */
static void put(const char *file, const char *text) {
    char path[SCRATCH_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s", scratch_path(file));
    for (char *slash = strchr(path + strlen(scratch_folder) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    assert_true(put_bytes(path, text, strlen(text)));
}

/* Nothing is left of an earlier test. */
static int fresh(void **state) {
    (void)state;
    forget_settings();
    return remove_folder(scratch_folder) && mkdir(scratch_folder, 0700) == 0 ? 0 : -1;
}

static void expect(const char *name, const char *file) {
    mobiedit_error err = {0};
    char *path = NULL;
    if (hub_find(name, &path, &err) != MOBIEDIT_OK) fail_msg("%s: %s", name, err.message);
    assert_string_equal(path, scratch_path(file));
    me_free(path);
}

static void expect_refusal(const char *name, mobiedit_status status, const char *reason) {
    mobiedit_error err = {0};
    char *path = NULL;
    const mobiedit_status got = hub_find(name, &path, &err);
    if (got != status || !strstr(err.message, reason))
        fail_msg("%s: wanted %s '%s', got %s '%s'", name, mobiedit_status_name(status), reason,
                 mobiedit_status_name(got), err.message);
    assert_null(path);
    assert_null(strchr(err.message, '\n'));
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void other_names_are_refused(void **state) {
    static const char *const names[] = {
        "",     "user",        "user/", "/repo", "a/b/c",  "a/b:", "../b",      "a/..", "a/.b",
        "a/b.", "a/b:Q4/../x", "a/b c", "a//b",  "a/b--c", "-a/b", "a/b:Q4:Q5", "~/b",  "a/b\n"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        expect_refusal(names[i], MOBIEDIT_E_ARGUMENT, "does not name a model");
    char longest[600];
    memset(longest, 'a', sizeof longest);
    longest[1] = '/';
    longest[sizeof longest - 1] = '\0';
    expect_refusal(longest, MOBIEDIT_E_ARGUMENT, "does not name a model");
}

static void what_is_not_there_can_be_got(void **state) {
    (void)state;
    expect_refusal(NAME, MOBIEDIT_E_IO, "llama-cli -hf some-User/A.Model_GGUF\"");
    expect_refusal("a/b:Q5_K_S", MOBIEDIT_E_IO, "llama-cli -hf a/b:Q5_K_S\"");
    expect_refusal("a/b:Q5_K_S", MOBIEDIT_E_IO, "hf download a/b --include '*Q5_K_S*.gguf'");
    expect_refusal(NAME, MOBIEDIT_E_IO, scratch_path("home/.cache/huggingface/hub"));
    expect_refusal(NAME, MOBIEDIT_E_IO, scratch_path("home/.cache/llama.cpp"));
    set("LLAMA_CACHE", "own");
    expect_refusal(NAME, MOBIEDIT_E_IO, scratch_path("own"));
}

/* What is looked through, the first that is set of each. */
static void folders_follow_the_settings(void **state) {
    static const struct {
        const char *name, *folder, *files;
    } settings[] = {{NULL, NULL, "home/.cache/huggingface/hub/"},
                    {"XDG_CACHE_HOME", "xdg", "xdg/huggingface/hub/"},
                    {"HF_HOME", "hf", "hf/hub/"},
                    {"HUGGINGFACE_HUB_CACHE", "old", "old/"},
                    {"HF_HUB_CACHE", "hub", "hub/"},
                    {"LLAMA_CACHE", "llama", "llama/"}};
    (void)state;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        char file[256];
        (void)snprintf(file, sizeof file, "%s" REPO "/refs/main", settings[i].files);
        put(file, COMMIT);
        (void)snprintf(file, sizeof file, "%s" SNAPSHOT "m.gguf", settings[i].files);
        put(file, "");
        if (settings[i].name) set(settings[i].name, settings[i].folder);
        expect(NAME, file);
    }
}

static void older_caches_follow_them_too(void **state) {
    (void)state;
    put("home/.cache/llama.cpp/some-User_A.Model_GGUF_m.gguf", "");
    expect(NAME, "home/.cache/llama.cpp/some-User_A.Model_GGUF_m.gguf");
    put("xdg/llama.cpp/some-User_A.Model_GGUF_m.gguf", "");
    set("XDG_CACHE_HOME", "xdg");
    expect(NAME, "xdg/llama.cpp/some-User_A.Model_GGUF_m.gguf");
    put("llama/some-User_A.Model_GGUF_m.gguf", "");
    set("LLAMA_CACHE", "llama");
    expect(NAME, "llama/some-User_A.Model_GGUF_m.gguf");
    put("llama/" REPO "/refs/main", COMMIT);
    put("llama/" SNAPSHOT "m.gguf", "");
    expect(NAME, "llama/" SNAPSHOT "m.gguf");
}

/* In the order of llama.cpp. */
static void quants_are_preferred_in_order(void **state) {
    (void)state;
    set("HF_HUB_CACHE", "hub");
    put("hub/" REPO "/refs/main", COMMIT "\n");
    put("hub/" SNAPSHOT "README.md", "");
    put("hub/" SNAPSHOT "A-Q8_0.gguf.part", "");
    expect_refusal(NAME, MOBIEDIT_E_IO, "not on this machine");
    put("hub/" SNAPSHOT "A-mmproj-Q4_K_M.gguf", "");
    put("hub/" SNAPSHOT "A-IQ2_M.gguf", "");
    put("hub/" SNAPSHOT "A-Q3_K_L.gguf", "");
    expect(NAME, "hub/" SNAPSHOT "A-IQ2_M.gguf");
    put("hub/" SNAPSHOT "a-q8_0.gguf", "");
    expect(NAME, "hub/" SNAPSHOT "a-q8_0.gguf");
    put("hub/" SNAPSHOT "sub/A.Q4_K_M.gguf", "");
    expect(NAME, "hub/" SNAPSHOT "sub/A.Q4_K_M.gguf");
    expect("some-User/A.Model_GGUF:q3_k_l", "hub/" SNAPSHOT "A-Q3_K_L.gguf");
    expect_refusal("some-User/A.Model_GGUF:Q4_K", MOBIEDIT_E_IO, "not as Q4_K: get it with \"llama-cli -hf");
    expect_refusal("some-User/A.Model_GGUF:Q6_K", MOBIEDIT_E_IO, "there is A-IQ2_M.gguf, A-Q3_K_L.gguf");
}

static void the_first_part_is_found(void **state) {
    (void)state;
    set("HF_HUB_CACHE", "hub");
    put("hub/" REPO "/refs/main", COMMIT);
    put("hub/" SNAPSHOT "A-Q4_K_M-00002-of-00002.gguf", "");
    expect_refusal(NAME, MOBIEDIT_E_IO, "not on this machine");
    put("hub/" SNAPSHOT "A-Q4_K_M-00001-of-00002.gguf", "");
    expect(NAME, "hub/" SNAPSHOT "A-Q4_K_M-00001-of-00002.gguf");
    expect("some-User/A.Model_GGUF:Q4_K_M", "hub/" SNAPSHOT "A-Q4_K_M-00001-of-00002.gguf");
}

/* Files are links to blobs, which may be gone. */
static void links_are_followed(void **state) {
    (void)state;
    set("HF_HUB_CACHE", "hub");
    put("hub/" REPO "/refs/main", COMMIT);
    put("hub/" SNAPSHOT "A-Q8_0.gguf", "");
    assert_int_equal(symlink("../../blobs/cafe", scratch_path("hub/" SNAPSHOT "A-Q4_K_M.gguf")), 0);
    expect(NAME, "hub/" SNAPSHOT "A-Q8_0.gguf");
    put("hub/" REPO "/blobs/cafe", "");
    expect(NAME, "hub/" SNAPSHOT "A-Q4_K_M.gguf");
}

/* A folder that leads to itself comes to an end. */
static void circles_end(void **state) {
    (void)state;
    set("HF_HUB_CACHE", "hub");
    put("hub/" REPO "/refs/main", COMMIT);
    put("hub/" SNAPSHOT "A-Q8_0.gguf", "");
    assert_int_equal(symlink(".", scratch_path("hub/" SNAPSHOT "circle")), 0);
    expect(NAME, "hub/" SNAPSHOT "A-Q8_0.gguf");
}

static void the_main_commit_counts(void **state) {
    (void)state;
    set("HF_HUB_CACHE", "hub");
    put("hub/" REPO "/snapshots/" OTHER "/other.gguf", "");
    put("hub/" SNAPSHOT "main.gguf", "");
    expect_refusal(NAME, MOBIEDIT_E_IO, "not on this machine"); /* no name stands for a commit */
    put("hub/" REPO "/refs/v2", OTHER);
    expect(NAME, "hub/" REPO "/snapshots/" OTHER "/other.gguf");
    put("hub/" REPO "/refs/main", "../" OTHER);
    expect(NAME, "hub/" REPO "/snapshots/" OTHER "/other.gguf");
    put("hub/" REPO "/refs/main", COMMIT);
    expect(NAME, "hub/" SNAPSHOT "main.gguf");
}

/* The manifest knows which file a name without a quant type stands for. */
static void manifests_name_files(void **state) {
    static const char manifest[] = "{\"ggufFile\": {\"rfilename\": \"sub/A-Q3_K_L.gguf\", \"size\": 3}}";
    (void)state;
    set("LLAMA_CACHE", "llama");
    put("llama/some-User_A.Model_GGUF_A-Q4_K_M.gguf", "");
    put("llama/manifest=some-User=A.Model_GGUF=latest.json", manifest);
    put("llama/manifest=some-User=A.Model_GGUF=Q5_1.json", manifest);
    expect(NAME, "llama/some-User_A.Model_GGUF_A-Q4_K_M.gguf"); /* the file that is named is not there */
    put("llama/some-User_A.Model_GGUF_sub_A-Q3_K_L.gguf", "");
    expect(NAME, "llama/some-User_A.Model_GGUF_sub_A-Q3_K_L.gguf");
    expect("some-User/A.Model_GGUF:Q5_1", "llama/some-User_A.Model_GGUF_sub_A-Q3_K_L.gguf");
    expect("some-User/A.Model_GGUF:Q4_K_M", "llama/some-User_A.Model_GGUF_A-Q4_K_M.gguf");
}

static void other_manifests_name_none(void **state) {
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "{\"ggufFile\": 3}",
                                        "{\"ggufFile\": {\"rfilename\": []}}",
                                        "{\"ggufFile\": {\"rfilename\": \"../../secret.gguf\"}}"};
    (void)state;
    set("LLAMA_CACHE", "llama");
    put("secret.gguf", "");
    put("llama/some-User_A.Model_GGUF_A-Q4_K_M.gguf", "");
    put("llama/some-User_Another_A-Q4_K_M.gguf", "");
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        put("llama/manifest=some-User=A.Model_GGUF=latest.json", texts[i]);
        expect(NAME, "llama/some-User_A.Model_GGUF_A-Q4_K_M.gguf");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(other_names_are_refused, fresh),
        cmocka_unit_test_setup(what_is_not_there_can_be_got, fresh),
        cmocka_unit_test_setup(folders_follow_the_settings, fresh),
        cmocka_unit_test_setup(older_caches_follow_them_too, fresh),
        cmocka_unit_test_setup(quants_are_preferred_in_order, fresh),
        cmocka_unit_test_setup(the_first_part_is_found, fresh),
        cmocka_unit_test_setup(links_are_followed, fresh),
        cmocka_unit_test_setup(circles_end, fresh),
        cmocka_unit_test_setup(the_main_commit_counts, fresh),
        cmocka_unit_test_setup(manifests_name_files, fresh),
        cmocka_unit_test_setup(other_manifests_name_none, fresh),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
