/* MobiEdit: change one fact in a quantized language model with forward passes only.
 *
 * This header is the manual of the library and all of its public interface.
 *
 * Introduction
 *   An edit makes a model continue a prompt with a new target: "The capital of {Japan} is" -> "Lima", the
 *   subject in braces. The model file is never written. An edit is a LoRA adapter, a small GGUF file that
 *   llama.cpp and all that is built on it load beside the model. It appears only after libllama, with the
 *   adapter attached, has said the target. Four calls do it (examples/embed.c is the whole program):
 *
 *     mobiedit_open(path, NULL, &model, &err);                       the model, mapped read-only
 *     mobiedit_edit(model, &request, NULL, output, &result, &err);   one fact, into an adapter file
 *     mobiedit_ask(model, prompt, &options, &text, &err);            what the model says with it
 *     mobiedit_close(model);
 *
 *   A ledger remembers edits, and keeps several of them in one adapter. A merge folds an adapter into a copy
 *   of the model. Most programs need no more than this. What measures and compares edits is declared at the
 *   end, if MOBIEDIT_ADVANCED is defined before this header is included.
 *
 * Conventions
 *   Errors. A function that can fail returns a mobiedit_status. If the caller passes a mobiedit_error, it is
 *   filled with the same status and one line of text; `err` may be NULL. On failure outputs are left
 *   untouched, unless the function says otherwise.
 *   Options. A struct of options that is all zero, `{0}`, means the defaults, and so does NULL.
 *   Strings are UTF-8 and zero-terminated. Those in options and requests are borrowed for the call only.
 *   Lifetimes. What a function hands out is the caller's, and the function names what frees it. What a
 *   callback is given is borrowed for the callback only. Ledgers and chats are closed before their model.
 *   Layers are numbered from 0, as in the names of the model's tensors (blk.0, blk.1, ...).
 *   Threads. A handle may be used by one thread at a time; different handles may be used at once. The
 *   library keeps no global state, never prints, and never ends the process.
 */
#ifndef MOBIEDIT_H
#define MOBIEDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MOBIEDIT_API __attribute__((visibility("default")))
#define MOBIEDIT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define MOBIEDIT_API
#define MOBIEDIT_PRINTF(fmt, args)
#endif

#define MOBIEDIT_VERSION "0.1.0"

/* Behind a model's path: where its ledger and its calibration stand, unless options say otherwise. */
#define MOBIEDIT_LEDGER_SUFFIX ".mobiedit.db"
#define MOBIEDIT_CALIBRATION_SUFFIX ".mobiedit.calibration"

/* ---- status ------------------------------------------------------------------------------------------ */

typedef enum {
    MOBIEDIT_OK = 0,
    MOBIEDIT_E_ARGUMENT,     /* an invalid request: no subject, empty target, unknown solver ... */
    MOBIEDIT_E_IO,           /* a file cannot be read or written */
    MOBIEDIT_E_FORMAT,       /* a file is truncated, damaged, or not of the expected kind */
    MOBIEDIT_E_UNSUPPORTED,  /* a sound file with an architecture, type or feature that is not handled */
    MOBIEDIT_E_MISMATCH,     /* an adapter of another model; an evaluation's state with other settings */
    MOBIEDIT_E_MEMORY,       /* out of memory, or the work does not fit the memory budget */
    MOBIEDIT_E_NOT_SOLVED,   /* no delta was found that makes the model say the target */
    MOBIEDIT_E_NOT_VERIFIED, /* libllama, adapter attached, does not say the target, or says a longer
                                word that begins with it; nothing was written */
    MOBIEDIT_E_CANCELLED,    /* the progress callback asked to stop */
    MOBIEDIT_E_RUNTIME,      /* libllama failed */
} mobiedit_status;

#define MOBIEDIT_ERROR_MAX 512

typedef struct {
    mobiedit_status status;
    char message[MOBIEDIT_ERROR_MAX]; /* one line, no newline at its end */
} mobiedit_error;

/* A short fixed name such as "format"; never NULL. */
MOBIEDIT_API const char *mobiedit_status_name(mobiedit_status status);
MOBIEDIT_API const char *mobiedit_version(void);
/* Of the libraries that it runs with: "0.5.0", "0.25.3". */
MOBIEDIT_API const char *mobiedit_llama_version(void);
MOBIEDIT_API const char *mobiedit_ggml_version(void);

/* Frees memory that the library handed out, if no other function is named for it. NULL is fine. */
MOBIEDIT_API void mobiedit_free(void *memory);

/* ---- model ------------------------------------------------------------------------------------------- */

/* A GGUF model, mapped read-only, with everything that is kept from edit to edit (background keys, bases). */
typedef struct mobiedit_model mobiedit_model;

typedef struct {
    int threads;         /* 0: one per processor */
    size_t memory_bytes; /* budget for working memory beside the mapped file; 0: the default */
    /* What runs the passes of an edit. NULL: native where it can run the model, else llama. "native": our
     * kernels on this processor, the fastest or those that the environment's MOBIEDIT_KERNELS names.
     * "llama": libllama's own graph on this processor, several times slower, of any model that can be edited.
     * "auto": a GPU or NPU that ggml knows, else as NULL. The name of a device, see mobiedit_devices.
     * "rpc:HOST:PORT[,...]": ggml's RPC servers, which hold the layers between them. */
    const char *backend;
    /* What mobiedit_calibrate measured, read before the first edit. NULL: the file beside the model (its path
     * with ".mobiedit.calibration" behind it), if it exists. "none": edits go without. Else a file. */
    const char *calibration;
    bool describe; /* adapters and merged models name their facts in their metadata, in plain text */
    const struct mobiedit_model_advanced *advanced; /* NULL: the defaults */
} mobiedit_model_options;

/* A device that runs models. Texts live as long as the process; memory in bytes, 0: not known. */
typedef struct {
    const char *name;        /* for mobiedit_model_options.backend */
    const char *kind;        /* "cpu", "gpu", "integrated gpu", "accelerator" (an aid to the cpu) */
    const char *description; /* of native: the kernels that it uses */
    size_t memory_free, memory_total;
    const char *const *kernels; /* of native: all kernels that this processor can run, slowest first, then
                                   NULL; freed with the list. Of others: NULL */
} mobiedit_device;

/* Lists the devices of this machine, native and llama first: *devices [*n], freed with mobiedit_free. E_MEMORY;
 * E_ARGUMENT: the environment's MOBIEDIT_KERNELS names kernels that this processor does not have. */
MOBIEDIT_API mobiedit_status mobiedit_devices(mobiedit_device **devices, size_t *n, mobiedit_error *err);

/* Opens and checks the model at `path`. Of a split model that is its first file, NAME-00001-of-0000N.gguf; the
 * others stand beside it. `options` may be NULL. Close with mobiedit_close (NULL is fine). E_IO, E_FORMAT,
 * E_UNSUPPORTED (architecture or tensor type, by name), E_MEMORY; E_ARGUMENT: the file is another part of a split
 * model than the first, the backend is unknown, or the profile, or the backend does not have the profile. */
MOBIEDIT_API mobiedit_status mobiedit_open(const char *path, const mobiedit_model_options *options,
                                           mobiedit_model **model, mobiedit_error *err);
MOBIEDIT_API void mobiedit_close(mobiedit_model *model);

/* ---- calibrate --------------------------------------------------------------------------------------- */

typedef struct {
    bool fix_layer; /* measure at `layer`. false: trial edits choose the layer, and `layer` must be 0 */
    int layer;
    /* after each trial, each batch of texts and each prompt; false cancels; may be NULL */
    bool (*on_prompt)(void *user, int done, int total);
    void *user;
} mobiedit_calibrate_options;

typedef struct {
    int layer;   /* at which edits at the subject are made from now on */
    int prompts; /* measured */
    int found;   /* of these, measured by an earlier run that was interrupted */
    size_t evaluations;
    double seconds;
} mobiedit_calibrate_result;

/* Chooses the layer that edits are made at, lets the model write some text, and measures by forward passes how
 * deltas change its answers to built-in prompts. All of it goes into the calibration file that the model's
 * options name; from then on edits solve more facts at the first try. Every step is saved at once, so that a
 * call after one that was interrupted resumes it. `options` may be NULL. *result is filled as far as known also
 * on failure. Method: doc/method.md. E_CANCELLED, E_IO; E_ARGUMENT: the layer cannot be edited, or calibration
 * is "none". */
MOBIEDIT_API mobiedit_status mobiedit_calibrate(mobiedit_model *model,
                                                const mobiedit_calibrate_options *options,
                                                mobiedit_calibrate_result *result, mobiedit_error *err);

/* ---- edit -------------------------------------------------------------------------------------------- */

/* A fact is the beginning of a sentence, "The capital of {Japan} is", or a question, "What is the capital of
 * {Japan}?". If the model has a chat template, a question is asked and taught as a user's message, and it is
 * answered if the target is in the first sentence of the answer. The target has at most 20 tokens, any other
 * text 896. */
typedef struct {
    const char *prompt;      /* the subject in braces */
    const char *target;      /* what should follow: "Lima". A space is put before it if the prompt's text
                                needs one */
    const char *const *keep; /* [n_keep] prompts whose answers must not change; may be NULL */
    size_t n_keep;
    const char *const *also; /* [n_also] the fact in other words, to be taught too: the same subject in
                                braces; may be NULL */
    size_t n_also;
} mobiedit_request;

typedef enum {
    MOBIEDIT_STAGE_PREPARE, /* tokens, prefix cache, basis */
    MOBIEDIT_STAGE_SOLVE,   /* the solver's rounds */
    MOBIEDIT_STAGE_KEY,
    MOBIEDIT_STAGE_VERIFY,
} mobiedit_stage;

typedef struct {
    mobiedit_stage stage;
    int layer;
    int round;
    float loss;       /* of the best delta so far; NaN before the first */
    int carriers_say; /* carriers whose greedy output is the target */
    int carriers;
    size_t evaluations; /* prompt evaluations so far */
    double seconds;
} mobiedit_progress;

/* Called from time to time on the calling thread; false cancels: the call
 * returns E_CANCELLED, nothing is written. */
typedef bool (*mobiedit_progress_fn)(void *user, const mobiedit_progress *progress);

/* An edit at the answer disturbs general text a little, and many add up. */
enum { MOBIEDIT_MOST_AT_ANSWER = 4 };

typedef struct {
    const char *solver; /* NULL: "probe". Or "spsa", the paper's estimator */
    bool fix_layer;     /* edit at `layer`. false: the library chooses, and `layer` must be 0 */
    int layer;          /* any but the last */
    const char *place;  /* where the edit is made: "answer", where the answer begins, so that what the model
                          says about other things of the subject stays, and the fact holds in chat (of the
                          probe solver only); or "subject", for many edits. NULL or "auto": at the answer,
                          as long as a ledger has no more than MOBIEDIT_MOST_AT_ANSWER of them, no layer is
                          fixed and the solver can */
    size_t max_evaluations; /* prompt evaluations; 0: the solver's default */
    uint64_t seed;          /* of everything random */
    int max_after_tokens;   /* of the before/after texts, which end with a sentence; 0: 24 */
    bool force;             /* edit also if the model says the target by itself */
    bool strict; /* refuse an edit that changes other things about the subject: E_NOT_VERIFIED if one of
                    mobiedit_asides.others does not stay */
    mobiedit_progress_fn on_progress; /* may be NULL */
    void *user;
    const struct mobiedit_edit_advanced *advanced; /* NULL: the defaults */
} mobiedit_edit_options;

typedef enum {
    MOBIEDIT_STOP_SOLVED,
    MOBIEDIT_STOP_NO_PROGRESS,
    MOBIEDIT_STOP_BUDGET,
    MOBIEDIT_STOP_ALREADY_SAID, /* the model says the target by itself, both after the prompt and, if it has a
                                   chat template, in answer to it in a chat: no edit was made */
} mobiedit_stop;

typedef enum {
    MOBIEDIT_CALIBRATION_NONE,
    MOBIEDIT_CALIBRATION_UNFINISHED, /* mobiedit_calibrate was interrupted: its responses are not used */
    MOBIEDIT_CALIBRATION_WHOLE,
} mobiedit_calibration_state;

typedef struct {
    size_t evaluations;
    float loss;
} mobiedit_trace_point;

/* Something else about an edit's subject: what the model says of it without and with the edit. */
typedef struct {
    const char *prompt; /* "Most people think of Japan as" */
    const char *before, *after;
    bool unchanged; /* the first token is the same, and the target does not turn up */
} mobiedit_other;

/* What an edit does beside its own prompt, as libllama says it. */
typedef struct {
    int chat; /* is the target said in a chat too? 1: yes, 0: no, -1: not asked, or no template */
    mobiedit_other *others; /* [n_others] other things about the subject; NULL: none was asked */
    size_t n_others;
} mobiedit_asides;

/* How an edit was solved. */
typedef struct {
    const char *solver;
    uint64_t seed;
    int layer;
    bool at_answer; /* edited where the answer begins; false: at the subject's last token */
    mobiedit_stop stop;
    int rounds;
    float loss;        /* nats a token */
    float delta_ratio; /* |delta| / |v|, v the MLP output at the edited place */
    size_t evaluations;
    size_t token_passes; /* tokens through the layers above the edited one */
    double seconds;      /* wall clock of the whole edit, verification included */
} mobiedit_solve_stats;

typedef struct {
    mobiedit_solve_stats solve;
    mobiedit_calibration_state calibration;
    double cpu_seconds;
    double joules; /* that the machine used, verification included; NaN if it has no readable counter */
    const char *energy_source; /* "rapl", "rapl+nvml", "nvml", "battery", or NULL */
    size_t peak_rss_bytes;     /* of the process so far */
    char *before; /* greedy continuation of the prompt without and with the adapter, through libllama */
    char *after;  /* NULL: nothing was written */
    mobiedit_asides asides; /* in the adapter that was written; if `strict` refused it, those that say why */
    mobiedit_trace_point *trace; /* [n_trace] loss against evaluations */
    size_t n_trace;
    /* Warnings; false and NULL: none. */
    bool
        high_loss; /* the target is said, but on average over the texts that taught it, it is less likely than
                       not: other wordings may not say it, and a later edit may undo it */
    char *known_as; /* "Japan": the subject was written "japan", but the model knows it with capital letters,
                       and prompts that spell it that way are unchanged */
} mobiedit_edit_result;

/* Edits one fact and writes the adapter to `output` once libllama, adapter attached, greedily says the
 * target: a LoRA adapter that llama.cpp loads. An existing file is replaced atomically; on any failure
 * nothing is left behind. If the model says the target by itself, the adapter does nothing. E_ARGUMENT also
 * if the output is the model, its ledger or its calibration. `options` may be NULL. *result is filled on
 * MOBIEDIT_OK, and as far as known on E_NOT_SOLVED and E_NOT_VERIFIED; free it with mobiedit_edit_result_free
 * in any case. Method: ROME (arXiv 2202.05262) section 3; MobiEdit (arXiv 2506.13772); see
 * doc/architecture.md. */
MOBIEDIT_API mobiedit_status mobiedit_edit(mobiedit_model *model, const mobiedit_request *request,
                                           const mobiedit_edit_options *options, const char *output,
                                           mobiedit_edit_result *result, mobiedit_error *err);
MOBIEDIT_API void mobiedit_edit_result_free(mobiedit_edit_result *result);
MOBIEDIT_API const char *mobiedit_stop_name(mobiedit_stop stop);
MOBIEDIT_API const char *mobiedit_calibration_name(mobiedit_calibration_state state); /* "none", ... */

/* Names of the solvers, ended by NULL. */
MOBIEDIT_API const char *const *mobiedit_solvers(void);

/* ---- inspect ----------------------------------------------------------------------------------------- */

typedef struct {
    const char *path;
    size_t bytes;
} mobiedit_model_file;

/* What is known of a model before it is edited. Texts and lists live as long as its handle. */
typedef struct {
    const char *name;
    const char *architecture;           /* as llama.cpp names it */
    char types[128];                    /* of its tensors, with their numbers: "Q4_K 120, F32 60" */
    const char *backend;                /* that would run an edit */
    const char *why_not_native;         /* why it is the slower "llama"; NULL: native runs the model */
    const char *mlp;                    /* where in `layer` an edit takes a neuron over: "dense" ... */
    int layers, editable;               /* editable: of these, layers that can be edited */
    int layer;                          /* of edits at the answer, unless options say otherwise */
    int subject_layer;                  /* of edits at the subject, likewise */
    bool has_chat_template, has_ledger; /* has_ledger: one beside the model */
    mobiedit_calibration_state calibration;
    const mobiedit_model_file *files; /* [n_files]: one, or the parts of a split model in their order */
    size_t n_files;
    size_t model_bytes;  /* of all of them */
    size_t memory_bytes; /* that an edit takes, roughly, the mapped model among it */
} mobiedit_inspection;

/* Reads the headers of the model's files and its calibration, and runs nothing. E_FORMAT, E_MEMORY, and errors
 * of the calibration's file. */
MOBIEDIT_API mobiedit_status mobiedit_inspect(mobiedit_model *model, mobiedit_inspection *out,
                                              mobiedit_error *err);

/* What an edit takes on this machine as it is loaded at the moment. Seconds are wall clock. */
typedef struct {
    double seconds; /* of a usual edit with its verification: roughly, single edits differ much */
    size_t
        evaluations; /* prompt evaluations that are reckoned with: 600, about the mean over 102 facts on three
                           models that are calibrated, or the options' max_evaluations if they are fewer */
    double evaluations_a_second; /* measured, in a batch */
    double measured_seconds;     /* that measuring took */
} mobiedit_edit_time;

/* Runs each part of an edit of a built-in fact once, which takes some seconds, and reckons from these what a whole
 * edit would take. Writes nothing. Of the options, which may be NULL, the layer, place, max_evaluations and
 * on_progress count. E_ARGUMENT, E_MEMORY, E_CANCELLED, E_RUNTIME, and errors of the calibration's file. */
MOBIEDIT_API mobiedit_status mobiedit_time_edit(mobiedit_model *model, const mobiedit_edit_options *options,
                                                mobiedit_edit_time *out, mobiedit_error *err);

/* ---- ledger ------------------------------------------------------------------------------------------ */

/* What has been edited in a model, remembered: an SQLite file beside it, bound to the model's tensors, so
 * that the model may be renamed and another model is refused. All active edits of a ledger are solved
 * together and make one adapter. Formulas and schema: doc/ledger.md.
 *
 * A change is one transaction, on disk when the function returns. Several processes may use one ledger.
 * The model must outlive the ledger handle, and both belong to one thread. */
typedef struct mobiedit_ledger mobiedit_ledger;

/* path NULL: the model's path with ".mobiedit.db" behind it. If `write` is set, a ledger that is not there
 * is made, with mode 0600, and removed again when it is closed if nothing was recorded. Reads the whole model
 * once, for its fingerprint. E_IO (also: there is none to read), E_FORMAT (damaged, or no ledger),
 * E_UNSUPPORTED (of another version; the one before is brought up to date), E_MISMATCH (another model's). Close with mobiedit_ledger_close (NULL is
 * fine). */
MOBIEDIT_API mobiedit_status mobiedit_ledger_open(mobiedit_model *model, const char *path, bool write,
                                                  mobiedit_ledger **ledger, mobiedit_error *err);
MOBIEDIT_API void mobiedit_ledger_close(mobiedit_ledger *ledger);

typedef enum {
    MOBIEDIT_RECORD_ACTIVE,
    MOBIEDIT_RECORD_UNDONE,
    MOBIEDIT_RECORD_SUPERSEDED, /* by a later edit of the same prompt */
} mobiedit_record_state;

/* An edit as the ledger has it. */
typedef struct {
    int64_t id; /* from 1 */
    mobiedit_record_state state;
    int64_t superseded_by; /* 0: by none */
    const char *prompt;    /* the subject in braces */
    const char *target;
    const char *const *keep; /* [n_keep] */
    size_t n_keep;
    const char *const *also; /* [n_also] */
    size_t n_also;
    mobiedit_solve_stats solve;
    const char *before, *after; /* greedy continuations when it was made; "" if not known */
    mobiedit_asides asides;     /* when it was made or last verified */
    int holds;                  /* when last verified: 1 yes, 0 no; -1: not verified since it changed */
    int64_t created, changed, verified; /* seconds since 1970; verified 0: never */
} mobiedit_record;

/* Called for each record; its strings are borrowed for the callback only. false ends the listing. */
typedef bool (*mobiedit_record_fn)(void *user, const mobiedit_record *record);

/* All edits in the order in which they were made; id != 0: only that one (E_ARGUMENT if there is none). */
MOBIEDIT_API mobiedit_status mobiedit_ledger_list(mobiedit_ledger *ledger, int64_t id,
                                                  mobiedit_record_fn on_record, void *user,
                                                  mobiedit_error *err);

/* What a change did beside what was asked. */
typedef struct {
    int64_t id;         /* the edit that was recorded, undone or done again; 0: none */
    int64_t superseded; /* an earlier edit of the same prompt that is no longer active, or 0 */
    int64_t restored;   /* an edit that is active again because what superseded it was undone, or 0 */
    int resolved;       /* other edits whose delta was solved again so that they still hold */
    int lost;           /* edits of other subjects that held and no longer do, although solved again */
    int related;        /* after undo and redo: other active edits of the same subject, to be verified */
    bool known;         /* this very edit was active already: nothing was solved */
} mobiedit_change;

/* mobiedit_edit, recorded: the edit is verified with all active edits in place, and what is written to
 * `output` (NULL: nothing) is the adapter of all of them. Edits of the same subject go to the same layer, and
 * those that would be lost are solved again; E_NOT_VERIFIED if the edits of the subject cannot all hold. An
 * active edit of the same prompt is superseded. If the model says the target by itself, the fact is
 * recorded all the same, as an edit that changes nothing (its stop is ALREADY_SAID): it is known from then
 * on, other edits keep off its prompt, mobiedit_ledger_verify asks for it, and if it is lost it can be edited.
 * If the edit was recorded and only `output` cannot be written, E_IO says so and change->id is set. */
MOBIEDIT_API mobiedit_status mobiedit_ledger_edit(mobiedit_ledger *ledger, const mobiedit_request *request,
                                                  const mobiedit_edit_options *options, const char *output,
                                                  mobiedit_edit_result *result, mobiedit_change *change,
                                                  mobiedit_error *err);

/* Takes an edit back, or makes one active again; id 0: the last one done, or undone. Undoing what superseded an
 * edit brings that edit back; redoing an edit supersedes the active one of its prompt.
 * E_ARGUMENT if there is no such edit. No model is run: an adapter is made by mobiedit_ledger_export. */
MOBIEDIT_API mobiedit_status mobiedit_ledger_undo(mobiedit_ledger *ledger, int64_t id,
                                                  mobiedit_change *change, mobiedit_error *err);
MOBIEDIT_API mobiedit_status mobiedit_ledger_redo(mobiedit_ledger *ledger, int64_t id,
                                                  mobiedit_change *change, mobiedit_error *err);

/* Writes the adapter of all active edits. If none is active, the adapter does nothing: whoever has loaded the
 * file before must not go on with edits that were undone. */
MOBIEDIT_API mobiedit_status mobiedit_ledger_export(mobiedit_ledger *ledger, const char *output,
                                                    mobiedit_error *err);

typedef struct {
    bool repair; /* solve the edits again that do not hold, the others in place */
    mobiedit_edit_options edit;
    mobiedit_record_fn on_record; /* each active edit, `holds` as found in the end; may be NULL */
    void *user;
} mobiedit_verify_options;

typedef struct {
    int active;
    int said; /* of these: recorded as said by the model itself, hence no edits */
    int hold;
    int resolved; /* solved again, and holding since */
    double drift; /* by all edits together, as mobiedit_metrics has it; NaN if none is active */
} mobiedit_verify_summary;

/* Asks libllama, with the adapter of all active edits attached, whether each of them holds, also in a chat, and
 * what it says about other things of their subjects; and records the answers. */
MOBIEDIT_API mobiedit_status mobiedit_ledger_verify(mobiedit_ledger *ledger,
                                                    const mobiedit_verify_options *options,
                                                    mobiedit_verify_summary *summary, mobiedit_error *err);

typedef enum {
    MOBIEDIT_FACT_RECORDED,
    MOBIEDIT_FACT_KNOWN, /* the ledger has it already, active or undone: left as it is */
    MOBIEDIT_FACT_SAID,  /* the model says it by itself: recorded as an edit that changes nothing */
    MOBIEDIT_FACT_FAILED,
    MOBIEDIT_FACT_REPLACED, /* a later fact of the file gives the prompt another target: not tried */
    MOBIEDIT_FACT_UNUSABLE, /* no edit can be made of it: no subject in its prompt, no target ... */
    MOBIEDIT_FACT_REDONE,   /* the ledger has it, superseded: active again as it was recorded */
} mobiedit_fact_outcome;

typedef struct {
    int index, total;   /* -1, 0: unusable; all such facts of the file are told before the others */
    const char *prompt; /* the subject in braces, NULL: unusable; borrowed for the callback, as is the rest */
    const char *target;
    mobiedit_fact_outcome outcome;
    const char *message; /* why it failed or is unusable (with its line or case), what replaces it; or NULL */
    mobiedit_change change;
    double seconds;
    bool high_loss;       /* warnings, as mobiedit_edit_result has them */
    const char *known_as; /* or NULL */
    mobiedit_asides asides;
} mobiedit_import_fact;

typedef struct {
    mobiedit_edit_options edit;
    int n, skip; /* facts; n 0: all. skip: left out at the start */
    bool (*on_fact)(void *user, const mobiedit_import_fact *done); /* false cancels; may be NULL */
    void *user;
} mobiedit_import_options;

typedef struct {
    int recorded, known, said, failed, replaced, unusable, redone;
    mobiedit_verify_summary all; /* of all active edits together, in the end */
} mobiedit_import_summary;

/* Edits the facts of a file, one by one: JSON (CounterFact, ZsRE, EasyEdit, requests of ROME and FastEdit),
 * or CSV with a header that names the columns prompt and target, and subject if the prompt has {} in its
 * place rather than the subject in braces. Other words for a fact are taken from "also", a text or a list, and
 * from columns whose name begins so. Each fact is verified alone and recorded at once, so that an
 * import that was interrupted can be resumed. A fact that fails or is unusable does not stop the rest. In the
 * end all active edits are verified together, and those that are lost among the others are solved again. */
MOBIEDIT_API mobiedit_status mobiedit_ledger_import(mobiedit_ledger *ledger, const char *facts,
                                                    const mobiedit_import_options *options,
                                                    mobiedit_import_summary *summary, mobiedit_error *err);

MOBIEDIT_API const char *mobiedit_record_state_name(mobiedit_record_state state);

/* ---- ask --------------------------------------------------------------------------------------------- */

typedef struct {
    const char *role; /* "system", "user" or "assistant" */
    const char *text;
} mobiedit_turn;

typedef struct {
    const char *adapter; /* path, or NULL */
    bool chat;           /* the prompt is a user's turn in the model's chat template */
    int max_tokens;      /* 0: 64 */
    bool (*on_text)(void *user, const char *piece); /* called as text appears; false stops; may be NULL */
    void *user;
    /* [n_turns] chat: what comes before the prompt, a system prompt first; may be NULL */
    const mobiedit_turn *turns;
    size_t n_turns;
} mobiedit_ask_options;

/* Greedy continuation of the prompt through libllama. `options` may be NULL. *text is freed with
 * mobiedit_free. A chat's tokens are those that llama-server makes of the same messages: the model's template is
 * rendered by llama.cpp's engine, in a forked child whose time and memory are limited.
 * Of the adapter: E_IO, E_FORMAT, E_UNSUPPORTED (not a plain LoRA), E_MISMATCH (of another model). Of a chat:
 * E_UNSUPPORTED if the model has no chat template, or it fails. E_RUNTIME. */
MOBIEDIT_API mobiedit_status mobiedit_ask(mobiedit_model *model, const char *prompt,
                                          const mobiedit_ask_options *options, char **text,
                                          mobiedit_error *err);

/* ---- what is said before and after ------------------------------------------------------------------- */

/* What the model is asked to see what an edit does. */
typedef enum {
    MOBIEDIT_SAID_PROMPT,         /* the fact's own */
    MOBIEDIT_SAID_PARAPHRASE,     /* the same asked otherwise */
    MOBIEDIT_SAID_NEIGHBOUR,      /* another fact, which is to stay */
    MOBIEDIT_SAID_PORTABILITY,    /* what follows from the new fact */
    MOBIEDIT_SAID_SAME_SUBJECT,   /* something else about the subject, which is to stay */
    MOBIEDIT_SAID_CHAT,           /* a question in the model's chat template, which the target answers */
    MOBIEDIT_SAID_CHAT_SYSTEM,    /* the same with a system prompt */
    MOBIEDIT_SAID_CHAT_TURN,      /* the same in the second turn */
    MOBIEDIT_SAID_CHAT_NEIGHBOUR, /* a question about others */
    MOBIEDIT_SAID_TELL,           /* asks for anything about the subject */
    MOBIEDIT_SAID_TRUE_NEW,       /* whether the new fact is true, yes or no */
    MOBIEDIT_SAID_TRUE_OLD,       /* whether the old one is */
} mobiedit_said_kind;

typedef struct {
    mobiedit_said_kind kind;
    const char *prompt;
    const char *before; /* greedy continuations, without and with the edit; NULL: none was made */
    const char *after;
    /* The target is said, in a chat anywhere in the answer. Of what is to stay: the next token is what it
     * was, and the target does not turn up. */
    bool held;
} mobiedit_said;

/* ---- chat -------------------------------------------------------------------------------------------- */

/* A model that stays loaded in libllama, for programs that talk with it for long: an adapter is attached,
 * replaced and detached without loading the model again. A chat may be used by another thread than its model's
 * handle, so that an edit can be made while people talk. Both map the same file, but each has buffers of its
 * own. It is closed before its model. */
typedef struct mobiedit_chat mobiedit_chat;

typedef struct {
    int threads;   /* 0: as the model's options say */
    int n_context; /* tokens of a prompt with its answer, at most; 0: 1024 */
} mobiedit_chat_options;

/* Loads the model, with no adapter attached. `options` may be NULL. E_RUNTIME, E_MEMORY. Close with
 * mobiedit_chat_close (NULL is fine). */
MOBIEDIT_API mobiedit_status mobiedit_chat_open(const mobiedit_model *model,
                                                const mobiedit_chat_options *options, mobiedit_chat **chat,
                                                mobiedit_error *err);
MOBIEDIT_API void mobiedit_chat_close(mobiedit_chat *chat);

/* Attaches an adapter file in place of the one that is attached; NULL: none. The file is read whole, and may
 * be removed then. Errors are those of mobiedit_ask's adapter: what was attached then stays, but for E_RUNTIME,
 * after which none is. */
MOBIEDIT_API mobiedit_status mobiedit_chat_attach(mobiedit_chat *chat, const char *adapter,
                                                  mobiedit_error *err);

/* As mobiedit_ask, with what is attached. options->adapter must be NULL. */
MOBIEDIT_API mobiedit_status mobiedit_chat_ask(mobiedit_chat *chat, const char *prompt,
                                               const mobiedit_ask_options *options, char **text,
                                               mobiedit_error *err);

/* A text behind a prompt, token by token. */
typedef struct {
    size_t n;           /* tokens of the text, at least 1 */
    int32_t *tokens;    /* [n] as the model's vocabulary numbers them */
    int32_t *likeliest; /* [n] in the place of each, behind the prompt and the text's tokens before it */
    float *log_probs;   /* [n] of `tokens` there, nats */
} mobiedit_score;

/* How the model reads `text` behind `prompt`, all at once, with what is attached. A space is put between the two as
 * between a fact's prompt and its target. in_chat: the prompt is a user's turn in the model's chat template, and the
 * text begins the answer. *score is freed with mobiedit_score_free. E_ARGUMENT also if they do not fit the chat's
 * context; in a chat E_UNSUPPORTED as mobiedit_ask. */
MOBIEDIT_API mobiedit_status mobiedit_chat_score(mobiedit_chat *chat, const char *prompt, bool in_chat,
                                                 const char *text, mobiedit_score *score,
                                                 mobiedit_error *err);
MOBIEDIT_API void mobiedit_score_free(mobiedit_score *score);

typedef struct {
    const char *before, *after; /* adapters; NULL: none */
    const char *const
        *questions; /* [n_questions] put in a chat: what was asked when the fact was found wrong; at
                                      most 8. None: the prompt is to be completed */
    size_t n_questions;
    bool (*on_said)(void *user, const mobiedit_said *said); /* for each prompt, in the end; false cancels */
    void *user;
} mobiedit_check_options;

/* Asks what an edit may have changed, with the adapter before it and with the one after it: its prompt, up to 16
 * of its other wordings, questions in the chat (if the model has a template), what else is said of the subject, and
 * the prompt about names like the subject, which the model picks from those that are built in. `after` stays
 * attached. Errors as those of mobiedit_chat_attach; E_ARGUMENT of the request. */
MOBIEDIT_API mobiedit_status mobiedit_chat_check(mobiedit_chat *chat, const mobiedit_request *request,
                                                 const mobiedit_check_options *options, mobiedit_error *err);

/* ---- propose ------------------------------------------------------------------------------------------ */

/* Bytes [begin, end) of a sentence. */
typedef struct {
    size_t subject_begin, subject_end;
    size_t target_begin, target_end;
} mobiedit_proposal;

/* Which words of a sentence such as "The capital of Japan is Lima." are the subject, and which the target, which ends
 * it: what a request's prompt and target are made of. It is a proposal, for a person to look at: of short English
 * sentences most are right (doc/serve.md). Made by the model, as the chat has it attached, and the text; the same
 * every time. E_ARGUMENT: no sentence of at least three words and at most 64, more than 1000 bytes, braces or several
 * lines in it. */
MOBIEDIT_API mobiedit_status mobiedit_propose(mobiedit_chat *chat, const char *text,
                                              mobiedit_proposal *proposal, mobiedit_error *err);

/* ---- merge ------------------------------------------------------------------------------------------- */

typedef struct {
    bool keep_float; /* write the adapted matrices as F16. false: each in its own type, unless that changes
                        the edit by more than a tenth; all as F16 if a fact is lost otherwise */
    const mobiedit_request *facts; /* [n_facts] what must hold (keep is not used); NULL: what the adapter's */
    size_t n_facts;                /* description tells: "The capital of {Japan} is -> Lima", one a line */
    const char *modelfile;         /* where a Modelfile for Ollama appears behind the model; NULL: nowhere */
    mobiedit_progress_fn on_progress; /* told the stages; may be NULL */
    void *user;
} mobiedit_merge_options;

typedef struct {
    int tensors;      /* matrices that differ from the model's */
    const char *type; /* of the widest of them */
    double error;     /* the greatest relative error of the edit's values in a matrix, on the inputs that the
                         facts' subjects and ordinary text give it; experts' down projections, which are kept
                         in float, left out */
    size_t facts;     /* that were asked for */
    size_t held;      /* of these, said by the model with the adapter */
    size_t kept;      /* of these, said by the merged model */
    double seconds;
    size_t peak_rss_bytes; /* of the process so far */
} mobiedit_merge_result;

/* Folds an adapter of edits into a copy of the model, for runtimes without adapters. The copy appears at
 * `output` (mode 0600: it holds the edits) once libllama has loaded it and it says every fact that the model
 * says with the adapter. All other tensors and all metadata are the model's; mobiedit.merged notes the
 * adapter's description, if the model's options say `describe`.
 * A file at `output` is replaced atomically; on any failure nothing is left behind. `options` may be NULL.
 * E_ARGUMENT if no fact is known; E_UNSUPPORTED for an adapter that changes more than the MLPs. */
MOBIEDIT_API mobiedit_status mobiedit_merge(mobiedit_model *model, const char *adapter,
                                            const mobiedit_merge_options *options, const char *output,
                                            mobiedit_merge_result *result, mobiedit_error *err);

/* The same for the adapter of all active edits of a ledger. E_ARGUMENT if there is none. */
MOBIEDIT_API mobiedit_status mobiedit_ledger_merge(mobiedit_ledger *ledger,
                                                   const mobiedit_merge_options *options, const char *output,
                                                   mobiedit_merge_result *result, mobiedit_error *err);

/* ====================================================================================================== */
/* The advanced interface: for measuring edits, not for making them.                                        */
/* ====================================================================================================== */
#ifdef MOBIEDIT_ADVANCED

/* ---- advanced options -------------------------------------------------------------------------------- */

struct mobiedit_model_advanced {
    /* Arithmetic of the native backend. NULL or "none": its own. "w8a16-static", "w8a8-static": that of
     * mobile NPUs, int8 weights with a scale for each output channel, int16 or int8 activations with one
     * scale a tensor, fixed beforehand. Verification is libllama's as ever. Takes a byte more a weight. */
    const char *profile;
};

/* Parts of an edit that can be left out, to see what each is worth. */
enum {
    MOBIEDIT_WITHOUT_CONTRAST = 1, /* the key knows only the subject, not what must stay: its mean key */
    MOBIEDIT_WITHOUT_BASIS = 2,    /* probes go in random directions */
    MOBIEDIT_WITHOUT_STOP = 4      /* the probe solver spends its whole budget */
};

struct mobiedit_edit_advanced {
    double idle_watts; /* what the machine takes without the work: not counted in the result's joules */
    float probe_step; /* of the probe solver: length of its finite differences, in lengths of the value at the
                         edited place; at most 10; 0: the solver's own */
    unsigned without; /* MOBIEDIT_WITHOUT_*, or-ed; 0: nothing is left out */
};

/* Watts that the machine takes while the calling thread sleeps for so long, for idle_watts; NaN if the
 * machine has no readable counter. */
MOBIEDIT_API double mobiedit_idle_watts(double seconds);

/* ---- calibration's trials ----------------------------------------------------------------------------- */

/* A layer that was tried: what is left of the loss of built-in facts in words that trial edits there have not
 * seen, in nats a token. */
typedef struct {
    int layer;
    double loss;
} mobiedit_layer_trial;
enum { MOBIEDIT_MAX_LAYER_TRIALS = 5 };

/* The layers that the model's calibration has tried: trials [*n], in order of depth. None if there is no
 * calibration, or its layer was fixed. Errors are those of reading the calibration: E_IO, E_FORMAT,
 * E_UNSUPPORTED, E_MISMATCH. */
MOBIEDIT_API mobiedit_status mobiedit_layer_trials(mobiedit_model *model,
                                                   mobiedit_layer_trial trials[MOBIEDIT_MAX_LAYER_TRIALS],
                                                   int *n, mobiedit_error *err);

/* ---- eval -------------------------------------------------------------------------------------------- */

/* What an edit does to a model. A metric is NaN if the case has nothing that it could be measured on.
 * doc/eval.md has formulas and sources. */
typedef struct {
    double rewrite;          /* 1: the target is the greedy continuation of the prompt */
    double paraphrase;       /* share of paraphrase prompts likewise */
    double unchanged;        /* share of neighbour prompts whose next greedy token is what it was */
    double neighbour_kl;     /* mean KL(before || after) of the next token there, nats */
    double efficacy;         /* 1: the target is likelier than what was true, after the prompt */
    double paraphrase_score; /* share of paraphrase prompts likewise */
    double neighbour_score;  /* share of neighbour prompts after which what is true is the likelier */
    double neighbour_score_before;
    double portability; /* share of portability prompts whose answer is the greedy continuation */
    double fluency;     /* n-gram entropy of generated text, bits */
    double fluency_before;
    double drift; /* mean KL(before || after) of the next token in generic text, nats */
    /* What else is said of the subject. *_sure: the same over the prompts after which the unedited model
     * gives its likeliest token at least half of the probability. */
    double same_subject, same_subject_sure; /* share whose next greedy token is what it was */
    double same_subject_kl,
        same_subject_kl_sure; /* mean KL(before || after) along the answer, nats a token */
    double leak, leak_sure;   /* share in whose text the target turns up as it did not */
    /* Questions in the model's chat template: NaN if it has none. */
    double chat, chat_sure;               /* share whose answer has the target in it */
    double chat_old, chat_old_sure;       /* share whose answer has what was true in it, and not the target */
    double chat_system, chat_system_old;  /* the same with a system prompt */
    double chat_turn, chat_turn_old;      /* the same in the second turn */
    double chat_loops, chat_loops_before; /* share of all these answers that go in circles */
    double chat_unchanged, chat_unchanged_sure;       /* share of answers about others whose KL is small */
    double chat_unchanged_kl, chat_unchanged_kl_sure; /* that KL(before || after), nats a token */
    double tell_kl;                                   /* of an account of the subject, the fact left out */
    double tell_fluency, tell_fluency_before;         /* n-gram entropy of that account, bits */
    /* Asked whether the facts are true, 1: yes to the new one, no to the old. NaN if the unedited model does
     * not tell them apart. */
    double negation_new, negation_old;
} mobiedit_metrics;

typedef struct {
    int64_t case_id;
    const char *prompt; /* with {} for the subject; all text is borrowed for the callback only */
    const char *subject;
    const char *relation; /* may be NULL */
    const char *target;
    const char *message;    /* why it failed, or NULL */
    mobiedit_status status; /* of the edit. If it failed, the metrics are of the unedited model */
    mobiedit_stop stop;
    int layer;     /* -1: nothing was edited */
    bool restored; /* not measured now: taken from the state file */
    size_t evaluations;
    double loss;        /* of the edit, nats a token; NaN: none was solved */
    double seconds;     /* the edit alone; NaN: nothing was edited */
    double cpu_seconds; /* likewise */
    double joules;      /* likewise; NaN also if the machine has no readable counter */
    mobiedit_metrics metrics;
    double measure_seconds; /* spent on the metrics */
    const mobiedit_said *said;
    size_t n_said;
} mobiedit_eval_case;

/* Mean of a metric over the cases that have it, with a 95 % interval (percentile bootstrap). */
typedef struct {
    const char *name; /* as in the results: "rewrite" */
    double mean, low, high;
    int n;
} mobiedit_figure;

enum { MOBIEDIT_EVAL_FIGURES = 42 };

typedef struct {
    const char *solver; /* NULL: nothing was edited */
    int cases;
    int failed;     /* cases whose edit was not written */
    int unusable;   /* cases left out: no subject in the prompt, no target */
    double seconds; /* median wall time an edit; the mean is among the figures */
    size_t peak_rss_bytes;
    mobiedit_figure figures[MOBIEDIT_EVAL_FIGURES];
} mobiedit_eval_summary;

/* One finished case (index of total); false cancels. */
typedef bool (*mobiedit_eval_fn)(void *user, int index, int total, const mobiedit_eval_case *done);

typedef struct {
    mobiedit_edit_options edit;
    int n;    /* cases; 0: all */
    int skip; /* cases to leave out at the start */
    mobiedit_eval_fn on_case;
    void *user;
    bool no_fluency;     /* leave out what takes longest: generated texts about the subject, */
    bool no_drift;       /* generic text, */
    bool no_answers;     /* answers in chat and about other things of the subject, */
    bool no_said;        /* and the continuations in mobiedit_eval_case.said */
    const char *state;   /* a file that keeps each finished case, or NULL */
    const char *adapter; /* measured with every fact as it is: nothing is edited. NULL: each fact's own */
    const char *system;  /* the system prompt of questions that have one; NULL: one such as people write */
    /* "context": nothing is edited, but the model is told the fact in the system prompt, and outside a chat
     * in front of the prompt. Metrics of answers only. NULL: none */
    const char *baseline;
} mobiedit_eval_options;

/* Edits each fact of a JSON file by itself, and measures it through libllama with the adapter attached. The
 * file is in CounterFact's, ZsRE's (mend-eval) or EasyEdit's schema. A fact that cannot be edited counts as
 * it is (the model unedited). E_FORMAT: the file is in none of these schemas. Errors of options->adapter are
 * those of mobiedit_ask.
 *
 * With options->state, each finished case is appended there as a line of JSON and synced to disk; cases that
 * the file has already are not run again but given to on_case as they were. A line cut short, as a kill
 * leaves it, is dropped. E_MISMATCH, naming the setting: the state is of another model, other facts or other
 * settings; `n` and `skip` may differ. E_IO: another process has it open. */
MOBIEDIT_API mobiedit_status mobiedit_eval(mobiedit_model *model, const char *facts,
                                           const mobiedit_eval_options *options,
                                           mobiedit_eval_summary *summary, mobiedit_error *err);

#endif /* MOBIEDIT_ADVANCED */

#ifdef __cplusplus
}
#endif
#endif
