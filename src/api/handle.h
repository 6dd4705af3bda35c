/* The model handle: what it owns, each part opened when first needed.
 *
 * Our engine and libllama map the same file, and pages that both have touched count twice against the
 * process. So at most one of them is in use: taking the runtime gives our pages back to the system, and
 * taking the session closes the runtime. */
#ifndef ME_API_HANDLE_H
#define ME_API_HANDLE_H

#include "edit/edit.h"
#include "model/calibration.h"
#include "runtime/runtime.h"

struct mobiedit_model {
    me_model *model;
    mobiedit_model_options options;
    const char *profile; /* the advanced options', as a constant */
    char *backend;       /* the options', copied */
    me_vocab *vocab;
    me_pool *pool;
    me_engine *engine;
    me_session *session;
    char *calibration_path;      /* the options', copied */
    me_calibration *calibration; /* NULL: none */
    me_runtime *runtime;
    bool is_tried;              /* libllama has run the model in a child, if only it runs the model */
    int n_sequences;            /* of the runtime, when it is opened; 0: one */
    mobiedit_model_file *files; /* [model->n_files], as mobiedit_inspect tells of them; NULL: it has not */
};

/* The vocabulary alone. */
mobiedit_status me_handle_vocab(mobiedit_model *handle, const me_vocab **out, mobiedit_error *err);

/* The session with its engine, vocabulary and calibration; the runtime is closed. */
mobiedit_status me_handle_session(mobiedit_model *handle, me_session **out, mobiedit_error *err);

/* The same before any calibration is read. */
mobiedit_status me_handle_session_uncalibrated(mobiedit_model *handle, me_session **out, mobiedit_error *err);

/* The runtime; what it was left attached to is detached. */
mobiedit_status me_handle_runtime(mobiedit_model *handle, me_runtime **out, mobiedit_error *err);

/* Reads the calibration that the options name, or the one beside the model, into the handle; no file beside
 * it, and "none", is no error. E_IO, E_FORMAT, E_UNSUPPORTED, E_MISMATCH as me_calibration_file_read says. */
mobiedit_status me_calibration_find(mobiedit_model *model, mobiedit_error *err);

/* Of the one that was found. */
mobiedit_calibration_state me_calibration_state(const mobiedit_model *model);

/* Whether the options say "none". */
bool me_calibration_is_off(const mobiedit_model *model);

/* The file that the options name, else the one beside the model. Freed with me_free. */
mobiedit_status me_calibration_choose_path(const mobiedit_model *model, char **out, mobiedit_error *err);

/* Opens a calibration and fills it from the file, as me_calibration_file_read does. */
mobiedit_status me_calibration_read(const me_model *model, const char *fingerprint, const char *path,
                                    me_calibration **out, mobiedit_error *err);

/* Refuses a layer that the model does not have or that cannot be edited, and one that is named although
 * `fix` is not set. */
mobiedit_status me_check_layer(const mobiedit_model *handle, bool fix, int layer, mobiedit_error *err);

/* Refuses an unknown solver, a layer that the model does not have, and the like, before any work. */
mobiedit_status me_check_edit_options(const mobiedit_model *handle, const mobiedit_edit_options *options,
                                      mobiedit_error *err);

/* What a path is to be: a file that is replaced, a ledger, a calibration. */
typedef enum { ME_PLACE_OUTPUT, ME_PLACE_LEDGER, ME_PLACE_CALIBRATION } me_place;

/* Refuses a path that stands for another file of the model's: the model itself, its ledger, its calibration.
 * Whatever the library writes goes through this. */
mobiedit_status me_check_place(const mobiedit_model *handle, me_place place, const char *path,
                               mobiedit_error *err);

/* Refuses a path that no file can be written beside: no such folder, no permission, not a regular file. */
mobiedit_status me_check_folder(const char *path, mobiedit_error *err);

/* Both for an output. `ledger`: one that is in use, which it must not be either; may be NULL. */
mobiedit_status me_check_output(const mobiedit_model *handle, const char *ledger, const char *path,
                                mobiedit_error *err);

/* Checks a request and cuts it up: E_ARGUMENT with the reason. Freed with me_prompt_free. */
mobiedit_status me_request_read(const mobiedit_request *request, me_prompt *out, mobiedit_error *err);

/* The same, questions put into the model's chat template. */
mobiedit_status me_request_open(mobiedit_model *handle, const mobiedit_request *request, me_prompt *out,
                                mobiedit_error *err);
/* What that does beyond reading: a question that cannot be meant is refused before. */
mobiedit_status me_request_ask(mobiedit_model *handle, me_prompt *prompt, mobiedit_error *err);

/* Refuses an edit that cannot be meant: of a prompt that is nothing but its subject, that ends in its target,
 * or that names its subject twice. A record that was made before is still asked for. */
mobiedit_status me_check_meaning(const me_prompt *prompt, mobiedit_error *err);

/* Whether the failure is that of one fact among many, rather than a reason to leave the others. One fact may
 * be too long for the memory where others are not. */
bool me_is_failed_fact(mobiedit_status status);

/* Refuses NULL, empty text, and text that is not UTF-8; `what` names it in the message. */
mobiedit_status me_check_text(const char *text, const char *what, mobiedit_error *err);

#endif
