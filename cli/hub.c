/* Finds models in the caches of llama.cpp and Hugging Face:
 *
 *   FOLDER/models--USER--REPO/refs/main, a commit, and .../snapshots/COMMIT/FILE, the repository's files: Hugging
 *   Face's form, and that of newer llama.cpp;
 *   FOLDER/USER_REPO_FILE, and FOLDER/manifest=USER=REPO=QUANT.json, which names the file: that of older llama.cpp. */
#define _GNU_SOURCE
#include "hub.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/parts.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NAME = 256, COMMIT = 40, MAX_DEPTH = 8, MAX_PLACES = 4 };

typedef struct {
    char repo[MAX_NAME + 1];    /* USER/REPO */
    char quant[MAX_NAME + 1];   /* "": none is named */
    char folder[MAX_NAME + 32]; /* models--USER--REPO */
    char prefix[MAX_NAME + 2];  /* USER_REPO_ */
} model_name;

/* Where models may be. */
typedef struct {
    char *folder;
    bool has_repos, has_flat; /* which of the two forms */
} place;

typedef struct {
    place items[MAX_PLACES];
    int n;
} places;

/* Paths of files, behind the folder that they are listed of. */
typedef struct {
    char **items; /* [n] */
    size_t n, capacity;
} file_list;

static char *format(const char *text, ...) MOBIEDIT_PRINTF(1, 2);

/* Freed with me_free; NULL: out of memory. */
static char *format(const char *text, ...) {
    va_list args, again;
    va_start(args, text);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, text, args);
    va_end(args);
    char *out = n < 0 ? NULL : me_calloc((size_t)n + 1, 1);
    if (out) (void)vsnprintf(out, (size_t)n + 1, text, again);
    va_end(again);
    return out;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static bool is_base(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Letters, digits and "_"; between two of these also ".", "-" and, once, "/". So no name leads out of a folder. */
static bool is_repo(const char *text) {
    int n_slashes = 0;
    bool was_base = false;
    for (; *text; text++) {
        if (!is_base(*text) && (!was_base || !strchr("./-", *text))) return false;
        was_base = is_base(*text);
        n_slashes += *text == '/';
    }
    return was_base && n_slashes == 1;
}

static bool is_quant(const char *text) {
    for (; *text; text++)
        if (!is_base(*text) && *text != '.' && *text != '-') return false;
    return true;
}

/* Each slash becomes `instead`. */
static void join(char *out, size_t size, const char *before, const char *repo, const char *instead,
                 const char *after) {
    const int n_user = (int)strcspn(repo, "/");
    (void)snprintf(out, size, "%s%.*s%s%s%s", before, n_user, repo, instead, repo + n_user + 1, after);
}

static mobiedit_status read_name(const char *text, model_name *out, mobiedit_error *err) {
    const size_t n = strcspn(text, ":");
    const char *quant = text[n] ? text + n + 1 : "";
    if (n <= MAX_NAME && strlen(quant) <= MAX_NAME) {
        (void)snprintf(out->repo, sizeof out->repo, "%.*s", (int)n, text);
        (void)snprintf(out->quant, sizeof out->quant, "%s", quant);
        if (is_repo(out->repo) && is_quant(quant) && (*quant || !text[n])) {
            join(out->folder, sizeof out->folder, "models--", out->repo, "--", "");
            join(out->prefix, sizeof out->prefix, "", out->repo, "_", "_");
            return MOBIEDIT_OK;
        }
    }
    return me_fail(err, MOBIEDIT_E_ARGUMENT,
                   "\"%.200s\" does not name a model on Hugging Face: write USER/REPO or USER/REPO:QUANT",
                   text);
}

/* ---- places -------------------------------------------------------------------------------------------- */

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

/* Takes the folder over. */
static bool add_place(places *list, char *folder, bool has_repos, bool has_flat) {
    if (!folder) return false;
    list->items[list->n++] = (place){.folder = folder, .has_repos = has_repos, .has_flat = has_flat};
    return true;
}

static const char *home(void) {
    const char *folder = setting("HOME");
    const struct passwd *user = folder ? NULL : getpwuid(getuid());
    return folder ? folder : user && user->pw_dir ? user->pw_dir : "/";
}

/* A folder of the user's cache. */
static char *in_cache(const char *name) {
    const char *cache = setting("XDG_CACHE_HOME");
    return cache ? format("%s/%s", cache, name) : format("%s/.cache/%s", home(), name);
}

static char *huggingface(void) {
    const char *hub = setting("HF_HUB_CACHE");
    if (!hub) hub = setting("HUGGINGFACE_HUB_CACHE");
    if (hub) return me_strdup(hub);
    return setting("HF_HOME") ? format("%s/hub", setting("HF_HOME")) : in_cache("huggingface/hub");
}

/* False: out of memory. */
static bool list_places(places *out) {
    const char *llama = setting("LLAMA_CACHE");
    return (!llama || add_place(out, me_strdup(llama), true, true)) &&
           add_place(out, huggingface(), true, false) &&
           (llama || add_place(out, in_cache("llama.cpp"), false, true));
}

/* ---- files --------------------------------------------------------------------------------------------- */

/* Takes the path over. */
static bool add_file(file_list *list, char *path) {
    if (path && me_grow(&list->items, &list->capacity, list->n + 1, sizeof *list->items)) {
        list->items[list->n++] = path;
        return true;
    }
    me_free(path);
    return false;
}

static void free_files(file_list *list) {
    for (size_t i = 0; i < list->n; i++)
        me_free(list->items[i]);
    me_free(list->items);
    *list = (file_list){0};
}

/* Not what may stand beside a model: a projector, an importance matrix, a drafting model; nor another part than the
 * first. */
static bool is_model(const char *path) {
    static const char *const others[] = {"mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-"};
    const char *name = me_base_name(path);
    me_part_name part;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strstr(name, others[i])) return false;
    return me_ends_with(name, ".gguf") && (!me_part_name_read(name, &part) || part.no == 1);
}

static bool list_folder(const char *folder, const char *below, int depth, file_list *out);

/* A file or a link to one, or what is in a folder; links to folders could lead in a circle. Takes the path over. */
static bool list_entry(const char *folder, char *path, int depth, file_list *out) {
    struct stat here, there;
    char *full = path ? format("%s/%s", folder, path) : NULL;
    bool done = full != NULL;
    const bool known = done && lstat(full, &here) == 0 && stat(full, &there) == 0;
    if (known && S_ISDIR(here.st_mode) && depth < MAX_DEPTH)
        done = list_folder(folder, path, depth + 1, out);
    else if (known && S_ISREG(there.st_mode) && is_model(path))
        done = add_file(out, me_strdup(path));
    me_free(full);
    me_free(path);
    return done;
}

/* The models in the folder `below` of folder; a folder that is not there has none. False: out of memory. */
static bool list_folder(const char *folder, const char *below, int depth, file_list *out) {
    char *path = format("%s/%s", folder, below);
    DIR *stream = path ? opendir(path) : NULL;
    bool done = path != NULL;
    for (const struct dirent *entry; done && stream && (entry = readdir(stream));)
        if (entry->d_name[0] != '.')
            done = list_entry(folder, format("%s%s%s", below, *below ? "/" : "", entry->d_name), depth, out);
    if (stream) (void)closedir(stream);
    me_free(path);
    return done;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether the path has the quant type followed by "." or "-", in any case. */
static bool has_quant(const char *path, const char *quant) {
    const size_t n = strlen(quant);
    for (; *path; path++)
        if (strncasecmp(path, quant, n) == 0 && (path[n] == '.' || path[n] == '-')) return true;
    return false;
}

/* NULL: none is of the quant type that is named. `from`: bytes of each path that do not count. */
static const char *choose(file_list *files, const model_name *name, size_t from) {
    const char *const quants[] = {*name->quant ? name->quant : "Q4_K_M", "Q8_0"};
    if (files->n == 0) return NULL;
    qsort(files->items, files->n, sizeof *files->items, by_name);
    for (int q = 0; q < (*name->quant ? 1 : 2); q++)
        for (size_t i = 0; i < files->n; i++)
            if (has_quant(files->items[i] + from, quants[q])) return files->items[i];
    return *name->quant ? NULL : files->items[0];
}

/* ---- a repository -------------------------------------------------------------------------------------- */

static bool is_commit(const char *text) {
    return strlen(text) == COMMIT && strspn(text, "0123456789abcdefABCDEF") == COMMIT;
}

static bool read_ref(const char *refs, const char *name, char commit[COMMIT + 2]) {
    char *path = format("%s/%s", refs, name);
    const bool known = path && me_read_line(path, commit, COMMIT + 2) && is_commit(commit);
    me_free(path);
    return known;
}

/* The commit that "main" stands for; without one, any other name. */
static bool find_commit(const char *repo, char commit[COMMIT + 2]) {
    char *refs = format("%s/refs", repo);
    bool found = refs && read_ref(refs, "main", commit);
    DIR *stream = refs && !found ? opendir(refs) : NULL;
    for (const struct dirent *entry; stream && !found && (entry = readdir(stream));)
        found = entry->d_name[0] != '.' && read_ref(refs, entry->d_name, commit);
    if (stream) (void)closedir(stream);
    me_free(refs);
    return found;
}

/* *path stays NULL if the model is not there; *seen tells then which are. False: out of memory. */
static bool find_in_repo(const char *folder, const model_name *name, file_list *seen, char **path) {
    char commit[COMMIT + 2];
    char *repo = format("%s/%s", folder, name->folder), *snapshot = NULL;
    bool done = repo != NULL;
    if (done && find_commit(repo, commit)) {
        snapshot = format("%s/snapshots/%s", repo, commit);
        done = snapshot && list_folder(snapshot, "", 0, seen);
        const char *chosen = done ? choose(seen, name, 0) : NULL;
        if (chosen) done = (*path = format("%s/%s", snapshot, chosen)) != NULL;
    }
    me_free(snapshot);
    me_free(repo);
    return done;
}

/* ---- older llama.cpp ----------------------------------------------------------------------------------- */

/* The file that a manifest's text names, behind USER_REPO_; NULL: none. */
static char *manifest_file(const char *bytes, size_t length) {
    cJSON *json = cJSON_ParseWithLength(bytes, length);
    const char *said = cJSON_GetStringValue(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(json, "ggufFile"), "rfilename"));
    char *file = said ? me_strdup(said) : NULL;
    for (char *c = file; c && *c; c++)
        if (*c == '/') *c = '_';
    cJSON_Delete(json);
    return file;
}

/* What the manifest says; *path stays NULL where there is none, or its file is not there. False: out of memory. */
static bool find_by_manifest(const char *folder, const model_name *name, char **path) {
    enum { MOST = 1 << 20 };
    char repo[MAX_NAME + 2], *bytes = NULL;
    size_t length = 0;
    join(repo, sizeof repo, "", name->repo, "=", "");
    char *manifest = format("%s/manifest=%s=%s.json", folder, repo, *name->quant ? name->quant : "latest");
    if (!manifest) return false;
    bool done = true;
    if (me_read_file(manifest, MOST, &bytes, &length, NULL) == MOBIEDIT_OK) {
        char *file = manifest_file(bytes, length);
        if (file) done = (*path = format("%s/%s%s", folder, name->prefix, file)) != NULL;
        if (*path && access(*path, F_OK) != 0) {
            me_free(*path);
            *path = NULL;
        }
        me_free(file);
        me_free(bytes);
    }
    me_free(manifest);
    return done;
}

/* Keeps those of the repository. */
static void keep_flat(file_list *files, const char *prefix) {
    size_t n = 0;
    for (size_t i = 0; i < files->n; i++) {
        if (strncmp(files->items[i], prefix, strlen(prefix)) == 0)
            files->items[n++] = files->items[i];
        else
            me_free(files->items[i]);
    }
    files->n = n;
}

static bool find_flat(const char *folder, const model_name *name, file_list *seen, char **path) {
    if (!find_by_manifest(folder, name, path)) return false;
    if (*path) return true;
    if (!list_folder(folder, "", MAX_DEPTH, seen)) return false;
    keep_flat(seen, name->prefix);
    const char *chosen = choose(seen, name, strlen(name->prefix));
    return !chosen || (*path = format("%s/%s", folder, chosen)) != NULL;
}

/* ---- finding ------------------------------------------------------------------------------------------- */

typedef bool (*find_fn)(const char *folder, const model_name *name, file_list *seen, char **path);

typedef struct {
    model_name name;
    char *path;       /* NULL: not found yet */
    file_list others; /* of other quant types than the one that is named */
} search;

static bool look(search *s, const char *folder, find_fn find) {
    file_list seen = {0};
    bool done = s->path || find(folder, &s->name, &seen, &s->path);
    for (size_t i = 0; i < seen.n && done && !s->path; i++)
        done = add_file(&s->others, me_strdup(seen.items[i]));
    free_files(&seen);
    return done;
}

/* Of two texts with what is between them; as many as there is room for. */
static void put(char *out, size_t size, const char *text, const char *between) {
    const size_t n = strlen(out);
    (void)snprintf(out + n, size - n, "%s%s", n > 0 ? between : "", text);
}

static mobiedit_status fail_missing(const search *s, const places *where, mobiedit_error *err) {
    const char *repo = s->name.repo, *quant = s->name.quant;
    char list[MOBIEDIT_ERROR_MAX] = "";
    for (size_t i = 0; i < s->others.n; i++)
        put(list, sizeof list, s->others.items[i], ", ");
    if (s->others.n > 0)
        return me_fail(
            err, MOBIEDIT_E_IO,
            "%s is on this machine, but not as %s: get it with \"llama-cli -hf %s:%s\"; there is %s", repo,
            quant, repo, quant, list);
    for (int i = 0; i < where->n; i++)
        put(list, sizeof list, where->items[i].folder, ", ");
    return me_fail(
        err, MOBIEDIT_E_IO,
        "%s is not on this machine: get it with \"llama-cli -hf %s%s%s\" or \"hf download %s --include "
        "'*%s*.gguf'\"; looked in %s",
        repo, repo, *quant ? ":" : "", quant, repo, *quant ? quant : "Q4_K_M", list);
}

static mobiedit_status find(search *s, places *where, mobiedit_error *err) {
    bool done = list_places(where);
    for (int i = 0; i < where->n && done; i++) {
        const place *p = &where->items[i];
        done = (!p->has_repos || look(s, p->folder, find_in_repo)) &&
               (!p->has_flat || look(s, p->folder, find_flat));
    }
    if (!done) return me_fail_memory(err, "the model's path");
    return s->path ? MOBIEDIT_OK : fail_missing(s, where, err);
}

mobiedit_status hub_find(const char *name, char **path, mobiedit_error *err) {
    search s = {0};
    places where = {0};
    ME_TRY(read_name(name, &s.name, err));
    const mobiedit_status status = find(&s, &where, err);
    if (status == MOBIEDIT_OK)
        *path = s.path;
    else
        me_free(s.path);
    for (int i = 0; i < where.n; i++)
        me_free(where.items[i].folder);
    free_files(&s.others);
    return status;
}
