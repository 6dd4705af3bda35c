#define _GNU_SOURCE
#include "models.h"

#include "scratch.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char links[SCRATCH_PATH_MAX];

static void remove_links(void) {
    (void)remove_folder(links);
}

static bool make_links_folder(void) {
    if (links[0]) return true;
    if (!temporary_folder(links)) {
        links[0] = '\0';
        return false;
    }
    return atexit(remove_links) == 0;
}

static const char *home(void) {
    const char *named = getenv("HOME");
    const struct passwd *user = named ? NULL : getpwuid(getuid());
    return named ? named : user ? user->pw_dir : "";
}

/* The model in the folder that the environment names. */
static bool look_up(const char *name, char path[MODEL_PATH_MAX]) {
    const char *models = getenv("MOBIEDIT_MODELS"), *cache = getenv("MOBIEDIT_CACHE");
    const int n = models  ? snprintf(path, MODEL_PATH_MAX, "%s/%s", models, name)
                  : cache ? snprintf(path, MODEL_PATH_MAX, "%s/models/%s", cache, name)
                          : snprintf(path, MODEL_PATH_MAX, "%s/.cache/mobiedit/models/%s", home(), name);
    return n > 0 && n < MODEL_PATH_MAX && access(path, R_OK) == 0;
}

bool find_model(const char *name, char path[MODEL_PATH_MAX]) {
    char *file = look_up(name, path) ? realpath(path, NULL) : NULL;
    const int n = file && make_links_folder() ? snprintf(path, MODEL_PATH_MAX, "%s/%s", links, name) : -1;
    const bool made = n > 0 && n < MODEL_PATH_MAX && (access(path, R_OK) == 0 || symlink(file, path) == 0);
    free(file);
    return made;
}
