/* Gives edits a model of their own in a router's preset. Each model of a router is a process with caches of its
 * own, so the edited model's answers and the unedited one's cannot mix. */
#define _GNU_SOURCE
#include "push_preset.h"

#include "json.h"
#include "output.h"
#include "preset.h"
#include "server.h"

#include "base/file.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/parts.h"
#include "base/pending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How long a model may take to end: the router kills it after ten seconds, unless the preset says otherwise. */
enum { END_SECONDS = 120, POLLS_A_SECOND = 10 };

typedef struct {
    const options *o;
    char *path;      /* of the preset, without links: what is renamed must be the file itself */
    bool is_new;     /* there is no preset yet; as the following, under the lock */
    struct stat was; /* of the preset, if there is one */
    char *adapter, *model;
    char *name, *unedited;
    preset_change change;
    bool written; /* the file has changed */
    server *server;
    bool was_running; /* the router had the edited model running */
} push;

/* ---- what goes into the preset ------------------------------------------------------------------------ */

/* What the router's --models-dir would call the file: its name without ".gguf". */
static char *file_stem(const char *path) {
    me_part_name part;
    const char *name = me_base_name(path);
    if (me_part_name_read(path, &part)) return me_strndup(name, part.length - (size_t)(name - path));
    return me_strndup(name, strlen(name) - (me_ends_with(name, ".gguf") ? strlen(".gguf") : 0));
}

/* "USER/REPO-GGUF:QUANT" gives "REPO". */
static char *hub_stem(const char *repo) {
    static const char suffix[] = "-GGUF";
    const char *name = strchr(repo, '/') ? strchr(repo, '/') + 1 : repo;
    size_t n = strcspn(name, ":");
    if (n > strlen(suffix) && strncasecmp(name + n - strlen(suffix), suffix, strlen(suffix)) == 0)
        n -= strlen(suffix);
    return me_strndup(name, n);
}

static int name_model(push *p) {
    const options *o = p->o;
    mobiedit_error ignored = {0};
    char *stem = o->served ? file_stem(o->served) : o->served_hub ? hub_stem(o->served_hub) : NULL;
    if ((o->served || o->served_hub) && !stem) return complain(STATUS_MEMORY, "out of memory for the name");
    if (o->section)
        p->name = me_strdup(o->section);
    else if (stem)
        p->name = me_strjoin(stem, "-edited");
    if (o->served && preset_check_name(stem, &ignored) == MOBIEDIT_OK)
        p->unedited = stem;
    else
        me_free(stem);
    if (!p->name && !o->section && !o->served && !o->served_hub)
        return complain(STATUS_USAGE,
                        "which model is edited? --model FILE, -hf USER/REPO, or --name of one that "
                        "the preset has");
    return p->name ? STATUS_DONE : complain(STATUS_MEMORY, "out of memory for the name");
}

/* A file that llama-server could not read would only be told of at the next request. */
static int check_gguf(const char *path) {
    FILE *file = NULL;
    uint64_t size;
    mobiedit_error err = {0};
    char magic[4] = "";
    if (me_open_file(path, &file, &size, &err) != MOBIEDIT_OK) return complain_of(&err);
    const bool is_gguf = fread(magic, 1, sizeof magic, file) == sizeof magic && memcmp(magic, "GGUF", 4) == 0;
    (void)fclose(file);
    return is_gguf ? STATUS_DONE : complain(STATUS_FILE, "%s is not a GGUF file", path);
}

static int find_files(push *p) {
    const options *o = p->o;
    int status = check_gguf(o->adapter);
    if (status == STATUS_DONE && o->served) status = check_gguf(o->served);
    if (status != STATUS_DONE) return status;
    p->adapter = me_absolute_path(o->adapter);
    p->model = o->served ? me_absolute_path(o->served) : me_strdup(o->served_hub ? o->served_hub : "");
    return p->adapter && p->model ? STATUS_DONE : complain(STATUS_FILE, "the current folder cannot be told");
}

/* ---- the file ------------------------------------------------------------------------------------------ */

static int find_preset(push *p) {
    const char *path = p->o->preset;
    char *real = realpath(path, NULL);
    if (!real && errno != ENOENT) return complain(STATUS_FILE, "cannot read %s: %s", path, strerror(errno));
    p->path = me_strdup(real ? real : path);
    free(real);
    return p->path ? STATUS_DONE : complain(STATUS_MEMORY, "out of memory for the preset");
}

/* The file keeps its mode and its owner. */
static mobiedit_status write_as(const push *p, me_pending_file *file, mobiedit_error *err) {
    const mode_t mode = p->was.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
    ME_TRY(me_pending_add(file, p->change.text, p->change.n, err));
    if (!p->is_new && ((p->was.st_uid != geteuid() || p->was.st_gid != getegid()) &&
                       fchown(file->fd, p->was.st_uid, p->was.st_gid) != 0))
        return me_fail(err, MOBIEDIT_E_IO, "cannot give a new %s to its owner: %s", p->path, strerror(errno));
    if (!p->is_new && fchmod(file->fd, mode) != 0)
        return me_fail(err, MOBIEDIT_E_IO, "cannot write %s: %s", p->path, strerror(errno));
    return me_pending_finish(file, err);
}

static mobiedit_status write_file(const push *p, mobiedit_error *err) {
    me_pending_file file = {0};
    ME_TRY(p->is_new ? me_pending_open(p->path, &file, err) : me_pending_open_private(p->path, &file, err));
    const mobiedit_status status = write_as(p, &file, err);
    if (status == MOBIEDIT_OK) return me_pending_commit(&file, err);
    me_pending_discard(&file);
    return status;
}

static mobiedit_status read_preset(const push *p, char **text, size_t *n, mobiedit_error *err) {
    static const char fresh[] = "version = 1\n";
    if (!p->is_new) return me_read_file(p->path, PRESET_MAX, text, n, err);
    *text = me_strdup(fresh);
    *n = strlen(fresh);
    return *text ? MOBIEDIT_OK : me_fail_memory(err, "the preset");
}

static int change_preset(push *p) {
    const options *o = p->o;
    const preset_request request = {.name = p->name,
                                    .adapter = p->adapter,
                                    .source = o->served       ? PRESET_FILE
                                              : o->served_hub ? PRESET_HUB
                                                              : PRESET_KEEP,
                                    .model = p->model,
                                    .unedited = p->unedited};
    mobiedit_error err = {0};
    char *text = NULL;
    size_t n = 0;
    if (read_preset(p, &text, &n, &err) != MOBIEDIT_OK) return complain_of(&err);
    mobiedit_status status = preset_put(text, n, &request, &p->change, &err);
    if (status == MOBIEDIT_OK) {
        p->written = p->is_new || p->change.n != n || memcmp(text, p->change.text, n) != 0;
        if (p->written) status = write_file(p, &err);
        if (status != MOBIEDIT_OK) p->written = false;
    } else if (status == MOBIEDIT_E_FORMAT) {
        me_free(text);
        return complain(STATUS_FILE, "%s cannot be changed: %s", o->preset, err.message);
    }
    me_free(text);
    return status == MOBIEDIT_OK ? STATUS_DONE : complain_of(&err);
}

/* One process at a time reads the preset and replaces it: what another puts there meanwhile would be lost. */
static int write_preset(push *p) {
    mobiedit_error err = {0};
    int folder;
    if (me_lock_folder_of(p->path, &folder, &err) != MOBIEDIT_OK) return complain_of(&err);
    p->is_new = fstatat(folder, me_base_name(p->path), &p->was, 0) != 0;
    const int status = p->is_new && errno != ENOENT
                           ? complain(STATUS_FILE, "cannot read %s: %s", p->o->preset, strerror(errno))
                           : change_preset(p);
    (void)close(folder);
    return status;
}

/* ---- the router ---------------------------------------------------------------------------------------- */

/* A router that cannot be reached is told of before anything is written. */
static int open_router(push *p) {
    const char *url = p->o->positional[0];
    served_model model = {0};
    if (!url) return STATUS_DONE;
    int status = server_open(url, &p->server);
    if (status == STATUS_DONE) status = server_find_model(p->server, false, p->name, &model);
    p->was_running = model.running;
    served_model_free(&model);
    return status;
}

/* Waits until the model's process has ended. */
static int await_end(push *p) {
    const struct timespec pause = {.tv_nsec = 1000000000 / POLLS_A_SECOND};
    for (int i = 0; i < END_SECONDS * POLLS_A_SECOND && !interrupted(); i++) {
        served_model model = {0};
        const int status = server_find_model(p->server, false, p->name, &model);
        const bool running = model.running;
        served_model_free(&model);
        if (status != STATUS_DONE || !running) return status;
        (void)nanosleep(&pause, NULL);
    }
    if (interrupted())
        return complain(STATUS_INTERRUPTED, "interrupted: %s may still run as before", p->name);
    return complain(STATUS_SERVER, "%s does not end %s, which goes on as before", p->o->positional[0],
                    p->name);
}

/* What the router read must be what was written, and no option of its command line stand above it. */
static int check_served(const push *p, const served_model *model) {
    const char *url = p->o->positional[0];
    if (!model->listed)
        return complain(STATUS_SERVER,
                        "%s is written, but %s does not list %s: start it with --models-preset %s",
                        p->o->preset, url, p->name, p->path);
    if (model->tells && (!model->lora || strcmp(model->lora, p->change.adapter) != 0))
        return complain(
            STATUS_SERVER,
            "%s is written, but %s serves %s with the adapters \"%s\": does it read another preset, or "
            "was it started with --lora?",
            p->o->preset, url, p->name, model->lora ? model->lora : "");
    return STATUS_DONE;
}

/* The router ends a model whose options have changed by itself; one whose adapter's file has changed under the
 * same name must be told to. */
static int reload(push *p) {
    served_model model = {0};
    int status = server_find_model(p->server, true, p->name, &model);
    if (status == STATUS_DONE) status = check_served(p, &model);
    if (status == STATUS_DONE && model.running) {
        status = server_unload_model(p->server, p->name);
        if (status == STATUS_DONE) status = await_end(p);
    }
    served_model_free(&model);
    if (status == STATUS_DONE && p->was_running) status = server_load_model(p->server, p->name);
    return status;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static int report_json(const push *p) {
    const char *url = p->o->positional[0];
    cJSON *object = cJSON_CreateObject();
    me_json_add_text(object, "version", mobiedit_version());
    me_json_add_text(object, "preset", p->o->preset);
    me_json_add_text(object, "name", p->name);
    me_json_add_text(object, "adapter", p->adapter);
    (void)cJSON_AddBoolToObject(object, "written", p->written);
    (void)cJSON_AddBoolToObject(object, "new", p->change.made);
    if (p->change.added) me_json_add_text(object, "unedited", p->unedited);
    if (p->change.copied) me_json_add_text(object, "like", p->change.copied);
    if (url) me_json_add_text(object, "server", url);
    if (url) (void)cJSON_AddBoolToObject(object, "restarted", p->was_running);
    return json_print(object, STATUS_DONE);
}

static void report_server(const push *p) {
    if (!p->server) {
        print_line("%-13s none is named: llama-server --models-preset %s serves it; one that runs reads the",
                   "server", p->path);
        print_line("%-13s preset again when push is given its URL", "");
        return;
    }
    print_line("%-13s %s has read the preset again", "server", p->o->positional[0]);
    print_line("%-13s %s", "model",
               p->was_running ? "is being loaded again" : "is loaded when it is first asked");
    print_line("%-13s its own: a new process answers, and has no prompt of before this edit", "cache");
}

static int report(const push *p) {
    if (p->o->json) return report_json(p);
    print_line("%-13s %s, [%s] %s", "preset", p->o->preset, p->name,
               p->change.made ? "added"
               : p->written   ? "changed"
                              : "as it was");
    print_line("%-13s %s", "adapter", p->adapter);
    if (p->change.copied) print_line("%-13s as those of [%s]", "options", p->change.copied);
    if (p->change.added) print_line("%-13s [%s] added, for the model without edits", "beside", p->unedited);
    report_server(p);
    return STATUS_DONE;
}

static int run(push *p) {
    int status = name_model(p);
    if (status == STATUS_DONE) status = find_files(p);
    if (status == STATUS_DONE) status = find_preset(p);
    if (status == STATUS_DONE) status = open_router(p);
    if (status == STATUS_DONE) status = write_preset(p);
    if (status == STATUS_DONE && p->server) status = reload(p);
    return status == STATUS_DONE ? report(p) : status;
}

int push_preset(const options *o) {
    push p = {.o = o};
    if (o->scale != 1)
        return complain(STATUS_USAGE,
                        "--scale is of a server that has loaded the adapter; a preset applies it whole");
    if (o->served && o->served_hub)
        return complain(STATUS_USAGE, "--model and -hf name two models: which one is edited?");
    const int status = run(&p);
    server_close(p.server);
    preset_free(&p.change);
    me_free(p.path);
    me_free(p.adapter);
    me_free(p.model);
    me_free(p.name);
    me_free(p.unedited);
    return status;
}
