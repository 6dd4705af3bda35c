/* One model's section in an INI file of llama-server's router (--models-preset). The rest of the file, comments
 * included, keeps every byte. llama-server's own grammar is stricter than INI files are elsewhere: keys and
 * headers begin their line, a value ends at the first ; or #, and nothing can be quoted. */
#ifndef CLI_PRESET_H
#define CLI_PRESET_H

#include "mobiedit.h"

#include <stdbool.h>
#include <stddef.h>

enum { PRESET_MAX = 1 << 20, PRESET_MAX_NAME = 200 };

/* What a section says which model it runs by. */
typedef enum { PRESET_KEEP, PRESET_FILE, PRESET_HUB } preset_source;

typedef struct {
    const char *name;     /* of the edited model's section, hence what clients ask for it by */
    const char *adapter;  /* an absolute path */
    preset_source source; /* PRESET_KEEP: the model of the section, which must be there */
    const char *model;    /* an absolute path, or USER/REPO[:QUANT] */
    const char
        *unedited; /* the section that gets the model as it is, where no section runs it; NULL: none does */
} preset_request;

typedef struct {
    char *text; /* the new file, n bytes; freed with me_free */
    size_t n;
    bool made;     /* the section is new */
    bool added;    /* so is request->unedited */
    char *adapter; /* the value of `lora`, as llama-server reads it; freed with me_free */
    char *copied;  /* the section that the other options of a new one were copied from; NULL: none. Freed. */
} preset_change;

/* Whether llama-server takes a model's name as it is, so that clients find it under that name. A colon's right
 * side would be rewritten, and a comma would make two names. E_ARGUMENT. */
mobiedit_status preset_check_name(const char *name, mobiedit_error *err);

/* Puts the request into a file of n bytes, which are not trusted, and a zero after them. A new section takes the
 * options of the section that runs the same model unedited, if there is one. E_FORMAT, with the number of the
 * line, where llama-server would refuse the file or read one section twice; E_ARGUMENT where a name or a path
 * cannot be written there, or no model is named. *out is then empty. */
mobiedit_status preset_put(const char *text, size_t n, const preset_request *request, preset_change *out,
                           mobiedit_error *err);
void preset_free(preset_change *change);

#endif
