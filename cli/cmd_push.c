/* mobiedit push */
#include "json.h"
#include "options.h"
#include "output.h"
#include "push_preset.h"
#include "server.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const option_row TABLE[] = {
    OPTION_ROW_ADAPTER("the adapter; without --preset one that the server has loaded"),
    {.name = "scale",
     .kind = OPTION_REAL,
     .at = offsetof(options, scale),
     .least = -1000,
     .most = 1000,
     .help = "how strongly it applies (1); 0: not at all",
     .value = "X"},
    {.name = "preset",
     .kind = OPTION_TEXT,
     .at = offsetof(options, preset),
     .file = FILE_WRITTEN,
     .help = "a router's preset, which gets a section for the edited model",
     .value = "FILE"},
    {.name = "name",
     .kind = OPTION_TEXT,
     .at = offsetof(options, section),
     .help = "what clients ask for the edited model by (MODEL-edited)",
     .value = "NAME"},
    {.name = "model",
     .letter = 'm',
     .kind = OPTION_TEXT,
     .at = offsetof(options, served),
     .file = FILE_READ,
     .help = "the model that a new section runs",
     .value = "FILE"},
    {.name = "hf",
     .one_dash = true,
     .kind = OPTION_TEXT,
     .at = offsetof(options, served_hub),
     .help = "the same, as llama-server finds it on Hugging Face",
     .value = "USER/REPO[:QUANT]"},
    OPTION_ROW_JSON,
    OPTION_ROW_END};

/* The adapter that is the file's; NULL after a one-line error. */
static served_adapter *find(const char *url, const char *file, const served_adapters *all) {
    served_adapter *found = NULL;
    for (size_t i = 0; i < all->n; i++) {
        if (!served_is(all->items[i].path, file)) continue;
        if (found) {
            (void)complain(STATUS_SERVER, "%s has %s loaded twice: which is meant?", url, file);
            return NULL;
        }
        found = &all->items[i];
    }
    if (!found)
        (void)complain(STATUS_SERVER,
                       "%s has not loaded %s, and llama-server loads adapters only when it starts: start it "
                       "with --lora %s",
                       url, file, file);
    return found;
}

/* The server's own word for it. */
static int confirm(server *s, const options *o, int id) {
    served_adapters now;
    const int status = server_get(s, &now);
    if (status != STATUS_DONE) return status;
    bool set = false;
    for (size_t i = 0; i < now.n; i++)
        if (now.items[i].id == id) set = fabs(now.items[i].scale - o->scale) < 1e-5 * (1 + fabs(o->scale));
    served_free(&now);
    if (set) return STATUS_DONE;
    return complain(STATUS_SERVER, "%s did not set the scale of %s", o->positional[0], o->adapter);
}

/* The caches of llama-server are not told apart by adapters: what of this prompt was computed with the old
 * scale would be used again. Copies in its memory cannot be erased from outside. */
static void advise(int erased) {
    if (erased > 0)
        (void)printf("%-13s %d slots erased\nUnless the server runs with --cache-ram 0, it may still answer "
                     "an earlier "
                     "prompt as before: ask\nit with \"cache_prompt\": false.\n",
                     "cache", erased);
    else
        (void)printf(
            "%-13s kept\nThe server may answer an earlier prompt as before: ask it with \"cache_prompt\": "
            "false, or start it\nwith --slot-save-path FOLDER --cache-ram 0, and push erases its slots.\n",
            "cache");
    (void)puts(
        "The server applies the file as it was when the server started; one with --sleep-idle-seconds N\n"
        "reads it again at the first request after N idle seconds.");
}

static int report(const options *o, const served_adapter *adapter, double before, int erased) {
    if (o->json) {
        cJSON *object = cJSON_CreateObject();
        me_json_add_text(object, "version", mobiedit_version());
        me_json_add_text(object, "server", o->positional[0]);
        me_json_add_text(object, "adapter", adapter->path);
        me_json_add_number(object, "id", adapter->id);
        me_json_add_number(object, "scale_before", before);
        me_json_add_number(object, "scale", o->scale);
        me_json_add_number(object, "slots_erased", erased > 0 ? erased : 0);
        return json_print(object, STATUS_DONE);
    }
    print_line("%-13s %s", "server", o->positional[0]);
    print_line("%-13s %s, number %d", "adapter", adapter->path, adapter->id);
    print_line("%-13s %g, was %g", "scale", o->scale, before);
    advise(erased);
    return STATUS_DONE;
}

/* All other adapters keep their scales: llama-server sets those that a request does not name to 0. */
static int switch_adapter(server *s, const options *o) {
    served_adapters all;
    int status = server_get(s, &all);
    if (status != STATUS_DONE) return status;
    served_adapter *adapter = find(o->positional[0], o->adapter, &all);
    status = STATUS_SERVER;
    if (adapter) {
        const double before = adapter->scale;
        adapter->scale = o->scale;
        status = server_set(s, &all);
        if (status == STATUS_DONE) status = confirm(s, o, adapter->id);
        if (status == STATUS_DONE) status = report(o, adapter, before, server_erase_slots(s));
    }
    served_free(&all);
    return status;
}

static int run(const options *o) {
    server *s = NULL;
    if (!o->adapter)
        return complain(STATUS_USAGE, "no adapter is named: --adapter FILE (see mobiedit push --help)");
    if (o->preset) return push_preset(o);
    if (o->section || o->served || o->served_hub)
        return complain(STATUS_USAGE, "--name, --model and -hf are for a preset: --preset FILE.ini");
    if (!o->positional[0])
        return complain(STATUS_USAGE, "neither a server nor a preset is named: URL, or --preset FILE.ini");
    int status = server_open(o->positional[0], &s);
    if (status == STATUS_DONE) status = switch_adapter(s, o);
    server_close(s);
    return status;
}

const command command_push = {
    .name = "push",
    .usage = "[URL] --adapter FILE [--scale X | --preset FILE.ini] [OPTION...]",
    .summary =
        "gives edits to llama-server: an adapter's scale, or a model of their own in a router's preset",
    .arguments = {{"URL", FILE_NONE}},
    .may_lack_arguments = true,
    .options = {TABLE},
    .run = run};
