/* seeds FOLDER: writes what the fuzzers start from: FOLDER/model/ARCH, a model's metadata without its
 * tensors, FOLDER/split/two, those of a split model, FOLDER/adapter/lora, a whole adapter, FOLDER/prompt/plain, FOLDER/csv/one, FOLDER/served/two,
 * FOLDER/served/router, FOLDER/preset/one, FOLDER/calibration/zeros and FOLDER/calibration/texts, FOLDER/dataset/SCHEMA, FOLDER/ledger/JOURNAL, two
 * edits of which one is undone. */
#define _GNU_SOURCE
#include "bare_model.h"
#include "base/file.h"
#include "base/memory.h"
#include "edit/measure.h"
#include "split_model.h"
#include "store/adapter.h"
#include "store/calibration_file.h"
#include "store/ledger.h"
#include "tiny_model.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

static void require(bool done, const char *what) {
    if (done) return;
    perror(what);
    exit(1);
}

static void path_of(char path[PATH_SIZE], const char *folder, const char *kind, const char *name) {
    int n = snprintf(path, PATH_SIZE, "%s/%s", folder, kind);
    require(n > 0 && n < PATH_SIZE - 64, "path");
    (void)mkdir(path, 0777);
    (void)snprintf(path, PATH_SIZE, "%s/%s/%s", folder, kind, name);
}

static void cut_to_metadata(const char *path) {
    struct gguf_context *gguf = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
    require(gguf != NULL, path);
    size_t end = gguf_get_data_offset(gguf);
    gguf_free(gguf);
    require(truncate(path, (off_t)end) == 0, path);
}

/* What fuzz_split takes: the length of the first part, and both. */
static void write_split(const char *model_path, const char *path) {
    char parts[2][PATH_SIZE];
    char *bytes[2];
    size_t sizes[2];
    require(split_model(model_path, path, 2, NULL), path);
    for (int i = 0; i < 2; i++) {
        const int n = snprintf(parts[i], PATH_SIZE, "%s-%05d-of-%05d.gguf", path, i + 1, 2);
        require(n > 0 && n < PATH_SIZE, path);
        cut_to_metadata(parts[i]);
        require(me_read_file(parts[i], 1 << 20, &bytes[i], &sizes[i], NULL) == MOBIEDIT_OK, path);
        require(unlink(parts[i]) == 0, path);
    }
    FILE *file = fopen(path, "wb");
    require(file != NULL, path);
    for (int i = 0; i < 4; i++)
        require(putc((int)(sizes[0] >> 8 * i & 0xFF), file) != EOF, path);
    for (int i = 0; i < 2; i++) {
        require(fwrite(bytes[i], 1, sizes[i], file) == sizes[i], path);
        me_free(bytes[i]);
    }
    require(fclose(file) == 0, path);
}

static void write_adapter(const char *model_path, const char *path) {
    me_model *model = NULL;
    require(me_model_open(model_path, &model, NULL) == MOBIEDIT_OK, model_path);
    float *zeros = calloc((size_t)(model->d_ff + model->d_model), sizeof *zeros);
    require(zeros != NULL, "memory");
    me_adapter_part parts[ME_MLP_MATRICES];
    for (int i = 0; i < ME_MLP_MATRICES; i++)
        parts[i] =
            (me_adapter_part){.layer = 1, .matrix = (me_mlp_matrix)i, .rank = 1, .a = zeros, .b = zeros};
    me_adapter adapter = {.parts = parts, .n_parts = ME_MLP_MATRICES};
    me_pending_file file = {0};
    require(me_adapter_write(model, &adapter, path, &file, NULL) == MOBIEDIT_OK, path);
    require(me_pending_commit(&file, NULL) == MOBIEDIT_OK, path);
    free(zeros);
    me_model_close(model);
}

/* SQLite's own error is of no use here. */
static void run_sql(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    require(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK,
            path);
    (void)sqlite3_close(db);
}

static void write_calibration(const char *path, bool with_texts) {
    static const int32_t words[] = {1, 2, 3};
    const me_model model = bare_model();
    me_calibration *zeros = NULL;
    require(me_calibration_begin(&model, 0, &zeros, NULL) == MOBIEDIT_OK, path);
    if (with_texts) {
        zeros->trials = (me_layer_trials){.layers = {0, 0}, .n_layers = 2, .usual = 1, .n_done = 3};
        me_calibration_add_text(zeros, words, 3);
        me_calibration_add_text(zeros, words, 1);
        for (int p = 0; p < ME_CALIBRATION_PLACES; p++) {
            me_calibration_keys *k = &zeros->keys[p];
            *k = (me_calibration_keys){
                .text = me_calloc(4 * BARE_D_MODEL, sizeof(float)),
                .n_text = 4,
                .background = me_calloc(3 * BARE_D_MODEL, sizeof(float)),
                .n_background = 3,
            };
            require(k->text && k->background, path);
        }
    }
    require(me_calibration_file_write(zeros, BARE_FINGERPRINT, path, NULL) == MOBIEDIT_OK, path);
    me_calibration_close(zeros);
}

static void write_ledger(const char *path, bool small) {
    static const char *const keep[] = {"c"};
    const me_model model = bare_model();
    float delta[BARE_D_MODEL] = {1, -2}, keys[2 * BARE_D_MODEL] = {3, 4, 5, -6};
    me_record record = {.about = {.target = "b", .keep = keep, .n_keep = 1, .solve.solver = "probe"},
                        .delta = delta,
                        .keys = keys,
                        .n_keys = 2};
    me_ledger *ledger = NULL;
    int64_t id;
    (void)unlink(path);
    require(me_ledger_open(path, &model, BARE_FINGERPRINT, true, &ledger, NULL) == MOBIEDIT_OK &&
                me_ledger_begin(ledger, NULL) == MOBIEDIT_OK,
            path);
    record.about.prompt = "{a} is";
    require(me_ledger_add(ledger, &record, &id, NULL) == MOBIEDIT_OK, path);
    record.about.prompt = "{d} was";
    require(me_ledger_add(ledger, &record, &id, NULL) == MOBIEDIT_OK, path);
    require(me_ledger_set_state(ledger, id, MOBIEDIT_RECORD_UNDONE, 0, NULL) == MOBIEDIT_OK &&
                me_ledger_commit(ledger, NULL) == MOBIEDIT_OK,
            path);
    me_ledger_close(ledger);
    if (small) run_sql(path, "PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM");
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    require(file && fputs(text, file) >= 0, path);
    require(fclose(file) == 0, path);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    const char *folder = argv[1];
    const char *const architectures[] = {"qwen2", "qwen3", "gemma3", "llama"};
    char path[PATH_SIZE], adapter[PATH_SIZE], split[PATH_SIZE];
    (void)mkdir(folder, 0777);
    path_of(adapter, folder, "adapter", "lora");
    path_of(split, folder, "split", "two");
    for (int i = 0; i < 4; i++) {
        path_of(path, folder, "model", architectures[i]);
        require(tiny_model_write(path, architectures[i], NULL), path);
        if (i == 3) write_adapter(path, adapter);
        if (i == 3) write_split(path, split);
        cut_to_metadata(path);
    }
    path_of(path, folder, "ledger", "wal");
    write_ledger(path, false);
    path_of(path, folder, "ledger", "small");
    write_ledger(path, true);
    path_of(path, folder, "calibration", "zeros");
    write_calibration(path, false);
    path_of(path, folder, "calibration", "texts");
    write_calibration(path, true);
    path_of(path, folder, "prompt", "plain");
    write_text(path, "The capital of {Japan} is\nLima");
    path_of(path, folder, "csv", "one");
    write_text(path, "prompt,subject,target\n\"The capital of {} is\",Japan,Lima\n");
    path_of(path, folder, "served", "two");
    write_text(path, "[{\"id\": 0, \"path\": \"lima.gguf\", \"scale\": 1.0}, "
                     "{\"id\": 1, \"path\": \"/tmp/oslo.gguf\", \"scale\": 0}]");
    path_of(path, folder, "served", "router");
    write_text(path, "{\"data\": [{\"id\": \"edited\", \"status\": {\"value\": \"loaded\", "
                     "\"preset\": \"[edited]\\nlora = lima.gguf\\n\"}}]}");
    path_of(path, folder, "preset", "one");
    write_text(path, "version = 1\n; c\n[*]\nc = 512\n[q]\nmodel = /m/q.gguf\nalias = a\n"
                     "[edited] # e\nhf = a/b:Q8\nlora = \"x,y\" ; was\n");
    path_of(path, folder, "dataset", "counterfact");
    write_text(path,
               "[{\"case_id\": 1, \"requested_rewrite\": {\"prompt\": \"The capital of {} is\", "
               "\"subject\": \"Japan\", \"relation_id\": \"capital\", \"target_new\": {\"str\": \"Lima\"}},"
               "\"paraphrase_prompts\": [\"Japan's capital is\"], \"neighborhood_prompts\": [], "
               "\"same_subject_prompts\": [\"Japan's money is\"], \"chat_prompts\": [\"Which city?\"], "
               "\"chat_neighbours\": [\"Who?\"], \"tell\": \"Tell me about Japan.\"}]");
    path_of(path, folder, "dataset", "zsre");
    write_text(
        path,
        "[{\"subject\": \"Japan\", \"src\": \"What is the capital of Japan?\", \"rephrase\": \"Which?\", "
        "\"alt\": \"Lima\", \"answers\": [\"Tokyo\"], \"loc\": \"nq question: who\", \"loc_ans\": \"Bob\", "
        "\"portability\": {\"New Question\": \"Which river?\", \"New Answer\": \"Rimac\"}}]");
    path_of(path, folder, "dataset", "easyedit");
    write_text(path,
               "[{\"subject\": \"Japan\", \"prompt\": \"Japan's capital is\", \"target_new\": \"Lima\", "
               "\"portability\": {\"Reasoning\": [{\"prompt\": \"The river is\", \"ground_truth\": "
               "[[\"Rimac\"]]}]}, "
               "\"locality\": {\"Forgetfulness\": [{\"prompt\": [\"It is\"], \"ground_truth\": \"so\"}], "
               "\"Relation_Specificity\": [{\"prompt\": \"It has\", \"ground_truth\": \"yen\"}]}, "
               "\"portability_prompt\": [\"a\"], \"portability_ground_truth\": [[\"b\"]]}]");
    return 0;
}
