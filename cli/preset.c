/* Edits one section of a llama-server preset, line by line: the grammar is that of llama.cpp's common/preset.cpp.
 */
#include "preset.h"

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    const char *at; /* n bytes */
    size_t n;
} span;

typedef enum { LINE_OTHER, LINE_HEADER, LINE_KEY } line_kind;

typedef struct {
    span whole; /* with its end */
    line_kind kind;
    span name;      /* of a header the section's, of a key its own */
    span value;     /* of a key */
    size_t section; /* of which it is a line; 0: before the first header */
} preset_line;

typedef struct {
    preset_line *items; /* [n] */
    size_t n, capacity;
    size_t n_sections; /* numbered from 1 */
} preset_lines;

/* What a key is to us. */
typedef enum { KEY_OTHER, KEY_LORA, KEY_ADAPTERS, KEY_FILE, KEY_HUB, KEY_MODEL, KEY_OWN } key_kind;

/* llama-server takes each option by any of its names, and by that of its variable in the environment. */
static const struct {
    const char *name;
    key_kind kind;
} KEYS[] = {
    {"lora", KEY_LORA},
    {"lora-scaled", KEY_ADAPTERS},
    {"model", KEY_FILE},
    {"m", KEY_FILE},
    {"LLAMA_ARG_MODEL", KEY_FILE},
    {"hf", KEY_HUB},
    {"hfr", KEY_HUB},
    {"hf-repo", KEY_HUB},
    {"LLAMA_ARG_HF_REPO", KEY_HUB},
    {"hff", KEY_MODEL},
    {"hf-file", KEY_MODEL},
    {"LLAMA_ARG_HF_FILE", KEY_MODEL},
    {"mu", KEY_MODEL},
    {"model-url", KEY_MODEL},
    {"LLAMA_ARG_MODEL_URL", KEY_MODEL},
    {"dr", KEY_MODEL},
    {"docker-repo", KEY_MODEL},
    {"LLAMA_ARG_DOCKER_REPO", KEY_MODEL},
    /* Options of one model alone. Two models cannot share an alias; a second one that is loaded at the start may
     * be one too many; and prompts that the unedited model has saved are not the edited one's. */
    {"a", KEY_OWN},
    {"alias", KEY_OWN},
    {"LLAMA_ARG_ALIAS", KEY_OWN},
    {"load-on-startup", KEY_OWN},
    {"slot-save-path", KEY_OWN},
};

/* ---- text -------------------------------------------------------------------------------------------- */

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

static bool is_comment(char c) {
    return c == ';' || c == '#';
}

static span of_text(const char *text) {
    return (span){.at = text, .n = strlen(text)};
}

static bool is_text(span s, const char *text) {
    return strlen(text) == s.n && memcmp(s.at, text, s.n) == 0;
}

static char *copy_of(span s) {
    return me_strndup(s.at, s.n);
}

/* How many blanks are at `at`. */
static size_t blanks(const char *at, const char *end) {
    size_t n = 0;
    while (at + n < end && is_blank(at[n]))
        n++;
    return n;
}

static key_kind kind_of(const preset_line *line) {
    for (size_t i = 0; i < sizeof KEYS / sizeof KEYS[0]; i++)
        if (is_text(line->name, KEYS[i].name)) return KEYS[i].kind;
    return KEY_OTHER;
}

static bool names_model(key_kind kind) {
    return kind == KEY_FILE || kind == KEY_HUB || kind == KEY_MODEL;
}

/* Text that grows; `failed`: out of memory. */
typedef struct {
    char *items; /* [n] */
    size_t n, capacity;
    bool failed;
} growing_text;

static void put(growing_text *out, span s) {
    out->failed = out->failed || !me_grow(&out->items, &out->capacity, out->n + s.n + 1, 1);
    if (out->failed || s.n == 0) return;
    memcpy(out->items + out->n, s.at, s.n);
    out->n += s.n;
}

static void put_text(growing_text *out, const char *text) {
    put(out, of_text(text));
}

/* ---- what is written --------------------------------------------------------------------------------- */

/* A name or a value that llama-server reads back as it is. */
static mobiedit_status check_value(const char *what, const char *text, mobiedit_error *err) {
    const size_t n = strlen(text);
    if (n == 0) return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s is empty", what);
    if (!me_utf8_valid(text)) return me_fail(err, MOBIEDIT_E_ARGUMENT, "%s is not UTF-8", what);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == '\x7f' || is_comment(text[i]))
            return me_fail(err, MOBIEDIT_E_ARGUMENT,
                           "%s cannot be written into a preset: %s has a control character, \";\" or \"#\"",
                           what, text);
    if (is_blank(text[0]) || is_blank(text[n - 1]))
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "%s cannot be written into a preset: \"%s\" has a blank at an end", what, text);
    return MOBIEDIT_OK;
}

mobiedit_status preset_check_name(const char *name, mobiedit_error *err) {
    ME_TRY(check_value("the name", name, err));
    if (strlen(name) > PRESET_MAX_NAME)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the name is longer than %d bytes", PRESET_MAX_NAME);
    if (strpbrk(name, "[]:,"))
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "\"%s\" cannot name a model of llama-server: no \"[\", \"]\", \":\" or \",\"", name);
    if (strcmp(name, "*") == 0 || strcmp(name, "default") == 0)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "\"%s\" names no model: llama-server has its own use of it",
                       name);
    return MOBIEDIT_OK;
}

/* A path as an element of a list with commas; freed with me_free, NULL: out of memory. */
static char *list_element(const char *path) {
    const bool quoted = strchr(path, ',') || *path == '"';
    char *out = me_calloc(2 * strlen(path) + 3, 1);
    size_t n = 0;
    if (!out) return NULL;
    if (quoted) out[n++] = '"';
    for (; *path; path++) {
        if (quoted && *path == '"') out[n++] = '"';
        out[n++] = *path;
    }
    if (quoted) out[n++] = '"';
    return out;
}

/* ---- reading ----------------------------------------------------------------------------------------- */

/* "[name]" with blanks in it, and a comment behind it; `end` is that of the line without its newline. */
static bool read_header(const char *at, const char *end, preset_line *out) {
    if (at == end || *at++ != '[') return false;
    at += blanks(at, end);
    out->name.at = at;
    while (at < end && *at != ']')
        at++;
    out->name.n = (size_t)(at - out->name.at);
    if (at == end || out->name.n == 0) return false;
    at++;
    at += blanks(at, end);
    out->kind = LINE_HEADER;
    return at == end || is_comment(*at);
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* "key = value", and a comment behind it. */
static bool read_key(const char *at, const char *end, preset_line *out) {
    out->name.at = at;
    if (at == end || !is_letter(*at)) return false;
    while (at < end && (is_letter(*at) || (*at >= '0' && *at <= '9') || *at == '.' || *at == '-'))
        at++;
    out->name.n = (size_t)(at - out->name.at);
    at += blanks(at, end);
    if (at == end || *at++ != '=') return false;
    at += blanks(at, end);
    out->value.at = at;
    while (at < end && !is_comment(*at))
        at++;
    while (at > out->value.at && is_blank(at[-1]))
        at--;
    out->value.n = (size_t)(at - out->value.at);
    out->kind = LINE_KEY;
    return true;
}

static bool read_line(const char *at, const char *end, preset_line *out) {
    const char *rest = at + blanks(at, end);
    if (rest == end || is_comment(*rest)) return true;
    return read_header(at, end, out) || read_key(at, end, out);
}

/* Where the line's text ends, and its end: \n, \r or both. */
static size_t line_end(const char *at, size_t *n_end) {
    const size_t n = strcspn(at, "\r\n");
    *n_end = at[n] == '\r' && at[n + 1] == '\n' ? 2 : at[n] != '\0';
    return n;
}

static mobiedit_status read_lines(const char *text, preset_lines *out, mobiedit_error *err) {
    for (const char *at = text; *at;) {
        preset_line line = {.kind = LINE_OTHER};
        size_t n_end;
        const size_t n = line_end(at, &n_end);
        if (!read_line(at, at + n, &line))
            return me_fail(err, MOBIEDIT_E_FORMAT, "line %zu is neither [name], key = value nor a comment",
                           out->n + 1);
        line.whole = (span){.at = at, .n = n + n_end};
        if (line.kind == LINE_HEADER) out->n_sections++;
        line.section = out->n_sections;
        if (!me_grow(&out->items, &out->capacity, out->n + 1, sizeof *out->items))
            return me_fail_memory(err, "the preset");
        out->items[out->n++] = line;
        at += n + n_end;
    }
    return MOBIEDIT_OK;
}

/* ---- sections ---------------------------------------------------------------------------------------- */

/* The number of the section, 0 where there is none. Of two, llama-server forgets the first. */
static mobiedit_status find_section(const preset_lines *lines, const char *name, size_t *section,
                                    mobiedit_error *err) {
    *section = 0;
    for (size_t i = 0; i < lines->n; i++) {
        const preset_line *line = &lines->items[i];
        if (line->kind != LINE_HEADER || !is_text(line->name, name)) continue;
        if (*section) return me_fail(err, MOBIEDIT_E_FORMAT, "line %zu: [%s] is there twice", i + 1, name);
        *section = line->section;
    }
    return MOBIEDIT_OK;
}

/* The first key of the section of one of the kinds from `least` to `most`; NULL: there is none. */
static const preset_line *find_key(const preset_lines *lines, size_t section, key_kind least, key_kind most) {
    for (size_t i = 0; i < lines->n; i++) {
        const preset_line *line = &lines->items[i];
        if (line->section != section || line->kind != LINE_KEY) continue;
        const key_kind kind = kind_of(line);
        if (kind >= least && kind <= most) return line;
    }
    return NULL;
}

/* Whether the section runs the request's model without adapters. */
static bool runs_unedited(const preset_lines *lines, size_t section, const preset_request *r, bool *matches) {
    const key_kind wanted = r->source == PRESET_FILE ? KEY_FILE : KEY_HUB;
    const preset_line *key = find_key(lines, section, wanted, wanted);
    *matches = false;
    if (find_key(lines, section, KEY_LORA, KEY_ADAPTERS) || !key) return true;
    char *model = copy_of(key->value);
    if (!model) return false;
    *matches = strcmp(model, r->model) == 0 || (wanted == KEY_FILE && me_same_file(model, r->model));
    me_free(model);
    return true;
}

/* Whether a section of this name is the unedited model's, if it names no model itself. */
static bool names_it(span name, const preset_request *r) {
    if (r->source == PRESET_HUB) return is_text(name, r->model);
    return r->unedited && is_text(name, r->unedited);
}

/* The header of the section that a new one is like; NULL where there is none. */
static mobiedit_status find_like(const preset_lines *lines, const preset_request *r, const preset_line **out,
                                 mobiedit_error *err) {
    *out = NULL;
    for (size_t i = 0; i < lines->n && !*out; i++) {
        const preset_line *line = &lines->items[i];
        bool matches;
        if (line->kind != LINE_HEADER) continue;
        if (!runs_unedited(lines, line->section, r, &matches)) return me_fail_memory(err, "the preset");
        if (names_it(line->name, r) && !find_key(lines, line->section, KEY_LORA, KEY_MODEL)) matches = true;
        if (matches) *out = line;
    }
    return MOBIEDIT_OK;
}

/* ---- writing ----------------------------------------------------------------------------------------- */

typedef struct {
    const preset_lines *lines;
    const preset_request *request;
    const char *adapter; /* the value of `lora` */
    const char *newline;
    growing_text out;
} writing;

static void put_key(writing *w, const char *key, const char *value) {
    put_text(&w->out, key);
    put_text(&w->out, " = ");
    put_text(&w->out, value);
    put_text(&w->out, w->newline);
}

static void put_model(writing *w) {
    put_key(w, w->request->source == PRESET_FILE ? "model" : "hf", w->request->model);
}

/* The line with another value; what stands around it stays. */
static void put_value(writing *w, const preset_line *line, const char *value) {
    const char *end = line->value.at + line->value.n;
    put(&w->out, (span){.at = line->whole.at, .n = (size_t)(line->value.at - line->whole.at)});
    put_text(&w->out, value);
    put(&w->out, (span){.at = end, .n = line->whole.n - (size_t)(end - line->whole.at)});
}

static void end_line(writing *w) {
    const char last = w->out.n > 0 && !w->out.failed ? w->out.items[w->out.n - 1] : '\n';
    if (last != '\n' && last != '\r') put_text(&w->out, w->newline);
}

/* A line of the section that is there already: its adapter is the new one, and so is its model if one is named.
 * A key that is there twice counts as it stands last, so the first one is replaced and the others go. */
static void put_changed(writing *w, const preset_line *line, bool *has_adapter, bool *has_model) {
    const key_kind kind = line->kind == LINE_KEY ? kind_of(line) : KEY_OTHER;
    const bool is_new = w->request->source != PRESET_KEEP && names_model(kind);
    const bool fits = kind == (w->request->source == PRESET_FILE ? KEY_FILE : KEY_HUB);
    if (kind == KEY_LORA && !*has_adapter) {
        put_value(w, line, w->adapter);
        *has_adapter = true;
    } else if (is_new && fits && !*has_model) {
        put_value(w, line, w->request->model);
        *has_model = true;
    } else if (kind != KEY_LORA && !is_new) {
        put(&w->out, line->whole);
    }
}

/* Whether a list with commas has a single element. */
static bool lists_one(span value) {
    bool quoted = false;
    for (size_t i = 0; i < value.n; i++) {
        if (value.at[i] == '"' && (quoted || i == 0)) quoted = !quoted;
        if (value.at[i] == ',' && !quoted) return false;
    }
    return true;
}

static mobiedit_status check_section(const preset_lines *lines, const preset_request *r, size_t section,
                                     mobiedit_error *err) {
    const preset_line *lora = find_key(lines, section, KEY_LORA, KEY_LORA);
    if (find_key(lines, section, KEY_ADAPTERS, KEY_ADAPTERS) || (lora && !lists_one(lora->value)))
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "[%s] has other adapters too: change it by hand, or choose another name", r->name);
    if (r->source == PRESET_KEEP && !find_key(lines, section, KEY_FILE, KEY_MODEL))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "[%s] names no model: name it with --model or -hf", r->name);
    return MOBIEDIT_OK;
}

static void change_section(writing *w, size_t section) {
    const preset_lines *lines = w->lines;
    const key_kind wanted = w->request->source == PRESET_FILE ? KEY_FILE : KEY_HUB;
    bool has_adapter = false, has_model = false;
    for (size_t i = 0; i < lines->n; i++) {
        const preset_line *line = &lines->items[i];
        if (line->section != section) {
            put(&w->out, line->whole);
            continue;
        }
        put_changed(w, line, &has_adapter, &has_model);
        if (line->kind != LINE_HEADER) continue;
        end_line(w);
        if (w->request->source != PRESET_KEEP && !find_key(lines, section, wanted, wanted)) put_model(w);
        if (!find_key(lines, section, KEY_LORA, KEY_LORA)) put_key(w, "lora", w->adapter);
    }
}

static void begin_section(writing *w, const char *name) {
    end_line(w);
    if (w->out.n > 0) put_text(&w->out, w->newline);
    put_text(&w->out, "[");
    put_text(&w->out, name);
    put_text(&w->out, "]");
    put_text(&w->out, w->newline);
    put_model(w);
}

static void add_section(writing *w, const preset_line *like) {
    for (size_t i = 0; i < w->lines->n; i++)
        put(&w->out, w->lines->items[i].whole);
    begin_section(w, w->request->name);
    for (size_t i = 0; i < w->lines->n && like; i++) {
        const preset_line *line = &w->lines->items[i];
        if (line->section != like->section || line->kind != LINE_KEY || kind_of(line) != KEY_OTHER) continue;
        put(&w->out, line->whole);
        end_line(w);
    }
    put_key(w, "lora", w->adapter);
}

/* ---- all of it --------------------------------------------------------------------------------------- */

static mobiedit_status check_request(const preset_request *r, mobiedit_error *err) {
    ME_TRY(preset_check_name(r->name, err));
    ME_TRY(check_value("the path of the adapter", r->adapter, err));
    if (r->source != PRESET_KEEP) ME_TRY(check_value("the model", r->model, err));
    return r->unedited ? preset_check_name(r->unedited, err) : MOBIEDIT_OK;
}

static mobiedit_status make_section(writing *w, preset_change *out, mobiedit_error *err) {
    const preset_request *r = w->request;
    const preset_line *like = NULL;
    size_t taken = 0;
    if (r->source == PRESET_KEEP)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "there is no [%s] yet: name its model with --model or -hf",
                       r->name);
    ME_TRY(find_like(w->lines, r, &like, err));
    if (r->unedited) ME_TRY(find_section(w->lines, r->unedited, &taken, err));
    add_section(w, like);
    out->made = true;
    out->added = r->unedited && !like && !taken && strcmp(r->unedited, r->name) != 0;
    if (out->added) begin_section(w, r->unedited);
    if (like) out->copied = copy_of(like->name);
    return like && !out->copied ? me_fail_memory(err, "the preset") : MOBIEDIT_OK;
}

static mobiedit_status put_section(writing *w, preset_change *out, mobiedit_error *err) {
    size_t section;
    mobiedit_status status = find_section(w->lines, w->request->name, &section, err);
    if (status == MOBIEDIT_OK && section) {
        status = check_section(w->lines, w->request, section, err);
        if (status == MOBIEDIT_OK) change_section(w, section);
    } else if (status == MOBIEDIT_OK) {
        status = make_section(w, out, err);
    }
    if (status == MOBIEDIT_OK && w->out.failed) status = me_fail_memory(err, "the preset");
    return status;
}

mobiedit_status preset_put(const char *text, size_t n, const preset_request *request, preset_change *out,
                           mobiedit_error *err) {
    preset_lines lines = {0};
    *out = (preset_change){0};
    ME_TRY(check_request(request, err));
    if (strlen(text) != n || !me_utf8_valid(text)) return me_fail(err, MOBIEDIT_E_FORMAT, "it is not UTF-8");
    mobiedit_status status = read_lines(text, &lines, err);
    char *adapter = list_element(request->adapter);
    if (status == MOBIEDIT_OK && !adapter) status = me_fail_memory(err, "the preset");
    writing w = {.lines = &lines,
                 .request = request,
                 .adapter = adapter,
                 .newline = strstr(text, "\r\n") ? "\r\n" : "\n"};
    if (status == MOBIEDIT_OK) status = put_section(&w, out, err);
    me_free(lines.items);
    out->text = w.out.items;
    out->n = w.out.n;
    out->adapter = adapter;
    if (status != MOBIEDIT_OK) preset_free(out);
    return status;
}

void preset_free(preset_change *change) {
    me_free(change->text);
    me_free(change->adapter);
    me_free(change->copied);
    *change = (preset_change){0};
}
