/* Tokens through libllama's vocabulary. */
#include "model/vocab_internal.h"

#include "base/memory.h"
#include "base/utf8.h"
#include "base/words.h"
#include "model/llama_init.h"
#include "model/metadata.h"

#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE_MAX = 4096,   /* bytes of one token; longer ones are refused at open */
    TEXT_MAX = 1 << 20, /* bytes of one text: libllama's pre-tokenizers recurse */
};

struct me_vocab {
    struct llama_model *owned;       /* vocabulary only, no weights; NULL where the model is borrowed */
    const struct llama_model *model; /* whose vocabulary it is */
    const struct llama_vocab *vocab;
    int n_tokens;
    bool space_prefix; /* a text is cut as if a space stood before it (SentencePiece) */
};

/* The byte that a token of a SentencePiece vocabulary stands for, as libllama looks it up; -1: none. */
static int token_byte(const char *text) {
    char name[8];
    if (text[0] != '\0' && text[1] == '\0') return (unsigned char)text[0];
    if (strncmp(text, "<0x", 3) != 0) return -1;
    unsigned value = (unsigned)strtoul(text + 3, NULL, 16) & 0xFF;
    (void)snprintf(name, sizeof name, "<0x%02X>", value);
    return strcmp(text, name) == 0 ? (int)value : -1;
}

/* SentencePiece falls back to a token for each byte; libllama ends the process where one is missing. */
static mobiedit_status check_tokens(const me_vocab *vocab, const char *path, mobiedit_error *err) {
    bool has_byte[256] = {false};
    int n_bytes = 0;
    for (int i = 0; i < vocab->n_tokens; i++) {
        const char *text = llama_vocab_get_text(vocab->vocab, i);
        size_t n = strlen(text);
        if (n >= PIECE_MAX)
            return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "%s: token %d has %zu bytes", path, i, n);
        int byte = token_byte(text);
        if (byte < 0 || has_byte[byte]) continue;
        has_byte[byte] = true;
        n_bytes++;
    }
    if (llama_vocab_type(vocab->vocab) == LLAMA_VOCAB_TYPE_SPM && n_bytes != 256)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the vocabulary has tokens for %d of 256 bytes", path,
                       n_bytes);
    return MOBIEDIT_OK;
}

static mobiedit_status tokenize(const me_vocab *vocab, const char *text, bool add_special, me_tokens *out,
                                mobiedit_error *err);

static mobiedit_status find_space_prefix(me_vocab *vocab, mobiedit_error *err) {
    me_tokens tokens = {0};
    char *text = NULL;
    ME_TRY(tokenize(vocab, "a", false, &tokens, err));
    mobiedit_status status = me_detokenize(vocab, tokens.ids, tokens.n, &text, err);
    if (text) vocab->space_prefix = text[0] == ' ';
    me_free(text);
    me_tokens_free(&tokens);
    return status;
}

/* libllama ends the process if it is to add a token that the vocabulary does not have. */
static mobiedit_status check_added(const me_vocab *vocab, const char *path, mobiedit_error *err) {
    const bool no_bos =
        llama_vocab_get_add_bos(vocab->vocab) && llama_vocab_bos(vocab->vocab) == LLAMA_TOKEN_NULL;
    const bool no_eos =
        llama_vocab_get_add_eos(vocab->vocab) && llama_vocab_eos(vocab->vocab) == LLAMA_TOKEN_NULL;
    if (!no_bos && !no_eos) return MOBIEDIT_OK;
    return me_fail(err, MOBIEDIT_E_FORMAT, "%s: the tokenizer adds %s, which is not in the vocabulary", path,
                   no_bos ? "a BOS" : "an EOS");
}

/* Takes libllama's vocabulary of the model at `path`. */
static mobiedit_status take_vocab(me_vocab *vocab, const struct llama_model *source, const char *path,
                                  mobiedit_error *err) {
    vocab->model = source;
    vocab->vocab = llama_model_get_vocab(source);
    path = me_shown_path(path);
    vocab->n_tokens = llama_vocab_n_tokens(vocab->vocab);
    enum llama_vocab_type type = llama_vocab_type(vocab->vocab);
    if (type != LLAMA_VOCAB_TYPE_SPM && type != LLAMA_VOCAB_TYPE_BPE)
        return me_fail(err, MOBIEDIT_E_UNSUPPORTED,
                       "%s: the vocabulary is neither SentencePiece nor byte-pair encoding", path);
    ME_TRY(check_tokens(vocab, path, err));
    ME_TRY(check_added(vocab, path, err));
    return find_space_prefix(vocab, err);
}

static mobiedit_status load_vocab(me_vocab *vocab, const char *path, mobiedit_error *err) {
    me_llama_init();
    struct llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    vocab->owned = llama_model_load_from_file(path, params);
    if (!vocab->owned)
        return me_fail(err, MOBIEDIT_E_FORMAT, "%s: libllama cannot load the vocabulary",
                       me_shown_path(path));
    return take_vocab(vocab, vocab->owned, path, err);
}

/* source NULL: loaded from the file at `path`. */
static mobiedit_status open_vocab(const struct llama_model *source, const char *path, me_vocab **out,
                                  mobiedit_error *err) {
    me_vocab *vocab = me_calloc(1, sizeof *vocab);
    if (!vocab) return me_fail_memory(err, "the vocabulary");
    mobiedit_status status = source ? take_vocab(vocab, source, path, err) : load_vocab(vocab, path, err);
    if (status != MOBIEDIT_OK) {
        me_vocab_close(vocab);
        return status;
    }
    *out = vocab;
    return MOBIEDIT_OK;
}

mobiedit_status me_vocab_open(const char *model_path, me_vocab **out, mobiedit_error *err) {
    return open_vocab(NULL, model_path, out, err);
}

mobiedit_status me_vocab_borrow(const struct llama_model *source, const char *model_path, me_vocab **out,
                                mobiedit_error *err) {
    return open_vocab(source, model_path, out, err);
}

void me_vocab_close(me_vocab *vocab) {
    if (!vocab) return;
    llama_model_free(vocab->owned);
    me_free(vocab);
}

int me_vocab_size(const me_vocab *vocab) {
    return vocab->n_tokens;
}

static mobiedit_status check_text(const char *text, size_t n, mobiedit_error *err) {
    if (n > TEXT_MAX)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "a text of %zu bytes is too long (at most %d)", n, TEXT_MAX);
    if (!me_utf8_valid(text)) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the text is not UTF-8");
    return MOBIEDIT_OK;
}

/* Token ids come from the file: one that is none would end the process later. */
static mobiedit_status check_ids(const me_vocab *vocab, const me_token *ids, int n, mobiedit_error *err) {
    for (int i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= vocab->n_tokens)
            return me_fail(err, MOBIEDIT_E_FORMAT, "token %d is not one of the vocabulary's %d", ids[i],
                           vocab->n_tokens);
    return MOBIEDIT_OK;
}

static mobiedit_status tokenize(const me_vocab *vocab, const char *text, bool add_special, me_tokens *out,
                                mobiedit_error *err) {
    size_t n_bytes = strlen(text);
    ME_TRY(check_text(text, n_bytes, err));
    int room = -llama_tokenize(vocab->vocab, text, (int)n_bytes, NULL, 0, add_special, true);
    if (room < 0) return me_fail(err, MOBIEDIT_E_RUNTIME, "libllama cannot cut the text into tokens");
    me_token *ids = me_calloc((size_t)room, sizeof *ids);
    if (!ids) return me_fail_memory(err, "tokens");
    int n = llama_tokenize(vocab->vocab, text, (int)n_bytes, ids, room, add_special, true);
    mobiedit_status status = check_ids(vocab, ids, n, err);
    if (status != MOBIEDIT_OK) {
        me_free(ids);
        return status;
    }
    /* Nothing follows an end of sequence, which a few models ask to add. */
    if (add_special && llama_vocab_get_add_eos(vocab->vocab) && n > 0 &&
        ids[n - 1] == llama_vocab_eos(vocab->vocab))
        n--;
    *out = (me_tokens){.ids = ids, .n = n};
    return MOBIEDIT_OK;
}

mobiedit_status me_tokenize(const me_vocab *vocab, const char *text, me_tokens *out, mobiedit_error *err) {
    return tokenize(vocab, text, true, out, err);
}

void me_tokens_free(me_tokens *tokens) {
    me_free(tokens->ids);
    *tokens = (me_tokens){0};
}

/* The token's bytes into piece [PIECE_MAX]; their number. `special`: special tokens have their names. */
static size_t token_bytes(const me_vocab *vocab, me_token token, bool special, char *piece) {
    int n = llama_token_to_piece(vocab->vocab, token, piece, PIECE_MAX, 0, special);
    return n > 0 ? (size_t)n : 0;
}

mobiedit_status me_detokenize(const me_vocab *vocab, const me_token *ids, int n, char **out,
                              mobiedit_error *err) {
    char piece[PIECE_MAX];
    size_t n_bytes = 0;
    ME_TRY(check_ids(vocab, ids, n, err));
    for (int i = 0; i < n; i++)
        n_bytes += token_bytes(vocab, ids[i], false, piece);
    char *text = me_calloc(n_bytes + 1, 1);
    if (!text) return me_fail_memory(err, "text");
    for (int i = 0, at = 0; i < n; i++) {
        size_t length = token_bytes(vocab, ids[i], false, piece);
        memcpy(text + at, piece, length);
        at += (int)length;
    }
    *out = text;
    return MOBIEDIT_OK;
}

/* Tokens that are looked for in a text before anything else; SentencePiece begins afresh behind them. */
static bool is_special(const me_vocab *vocab, me_token token) {
    const int special = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN;
    return (llama_vocab_get_attr(vocab->vocab, token) & special) != 0;
}

/* How many bytes of `text`, from its start, the token holds; prefixed: its first space is not the text's.
 * None: BOS. An unknown token holds a character. */
static size_t bytes_held(const me_vocab *vocab, me_token token, bool prefixed, const char *text) {
    char buffer[PIECE_MAX];
    const char *piece = buffer;
    size_t n = token_bytes(vocab, token, true, buffer);
    if (prefixed && n > 0 && *piece == ' ') {
        piece++;
        n--;
    }
    if (strncmp(text, piece, n) == 0) return n;
    return llama_vocab_is_control(vocab->vocab, token) ? 0 : me_utf8_length(text);
}

int me_token_at(const me_vocab *vocab, const me_tokens *tokens, const char *text, size_t end) {
    int last = -1;
    size_t begin = 0;
    bool afresh = true;
    for (int i = 0; i < tokens->n && begin < end; i++) {
        bool special = is_special(vocab, tokens->ids[i]);
        bool prefixed = vocab->space_prefix && afresh && !special;
        size_t n = bytes_held(vocab, tokens->ids[i], prefixed, text + begin);
        if (n > 0) last = i;
        begin += n;
        afresh = special;
    }
    return last;
}

/* Behind the role's line, where there is one before `from`: "user\n". */
static size_t skip_role(const char *text, size_t begin, size_t from) {
    const char *newline = memchr(text + begin, '\n', from - begin);
    if (!newline) return begin;
    begin = (size_t)(newline - text);
    while (begin < from && me_is_space(text[begin]))
        begin++;
    return begin;
}

void me_message_at(const me_vocab *vocab, const me_tokens *tokens, const char *text, size_t from, size_t to,
                   size_t *begin, size_t *end) {
    bool afresh = true, framed = false;
    size_t at = 0;
    *begin = 0;
    *end = strlen(text);
    for (int i = 0; i < tokens->n && at < *end; i++) {
        const bool special = is_special(vocab, tokens->ids[i]);
        const size_t n =
            bytes_held(vocab, tokens->ids[i], vocab->space_prefix && afresh && !special, text + at);
        if (n > 0 && llama_vocab_is_control(vocab->vocab, tokens->ids[i])) {
            if (at >= to) {
                *end = at;
            } else if (at + n <= from) {
                *begin = at + n;
                framed = true;
            }
        }
        at += n;
        afresh = special;
    }
    if (framed) *begin = skip_role(text, *begin, from);
}

/* The token as a chat template writes it; "" if the model has none. *out is freed with me_free. */
static mobiedit_status token_text(const me_vocab *vocab, me_token token, char **out, mobiedit_error *err) {
    char piece[PIECE_MAX];
    const bool there = token >= 0 && token < vocab->n_tokens;
    const size_t n = there ? token_bytes(vocab, token, true, piece) : 0;
    *out = me_strndup(piece, n);
    return *out ? MOBIEDIT_OK : me_fail_memory(err, "the text of a token");
}

mobiedit_status me_vocab_end_text(const me_vocab *vocab, bool of_turn, char **out, mobiedit_error *err) {
    return token_text(vocab, of_turn ? llama_vocab_eot(vocab->vocab) : llama_vocab_eos(vocab->vocab), out,
                      err);
}

mobiedit_status me_vocab_chat(const me_vocab *vocab, const me_chat_message *messages, size_t n, char **out,
                              mobiedit_error *err) {
    me_template_input input = {.source = llama_model_chat_template(vocab->model, NULL),
                               .add_bos = llama_vocab_get_add_bos(vocab->vocab),
                               .add_eos = llama_vocab_get_add_eos(vocab->vocab),
                               .messages = messages,
                               .n_messages = n};
    char *bos = NULL, *eos = NULL;
    if (!input.source) return me_fail(err, MOBIEDIT_E_UNSUPPORTED, "the model has no chat template");
    mobiedit_status status = token_text(vocab, llama_vocab_bos(vocab->vocab), &bos, err);
    if (status == MOBIEDIT_OK) status = token_text(vocab, llama_vocab_eos(vocab->vocab), &eos, err);
    input.bos = bos;
    input.eos = eos;
    if (status == MOBIEDIT_OK) status = me_template_render(&input, out, err);
    me_free(bos);
    me_free(eos);
    return status;
}

bool me_vocab_is_end(const me_vocab *vocab, me_token token) {
    return llama_vocab_is_eog(vocab->vocab, token);
}

static bool is_prefix(const me_tokens *a, const me_tokens *b) {
    int n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n])
        n++;
    return n == a->n;
}

/* a's tokens, then b's. */
static mobiedit_status append(const me_tokens *a, const me_tokens *b, me_tokens *out, mobiedit_error *err) {
    me_token *ids = me_calloc((size_t)a->n + (size_t)b->n, sizeof *ids);
    if (!ids) return me_fail_memory(err, "tokens");
    int n = 0;
    for (int i = 0; i < a->n; i++)
        ids[n++] = a->ids[i];
    for (int i = 0; i < b->n; i++)
        ids[n++] = b->ids[i];
    *out = (me_tokens){.ids = ids, .n = n};
    return MOBIEDIT_OK;
}

mobiedit_status me_tokens_add(me_tokens *tokens, me_token token, mobiedit_error *err) {
    const me_tokens one = {.ids = &token, .n = 1};
    me_tokens all = {0};
    ME_TRY(append(tokens, &one, &all, err));
    me_tokens_free(tokens);
    *tokens = all;
    return MOBIEDIT_OK;
}

/* The target's own tokens behind others: `text` as it stands, even where the vocabulary puts a space before
 * every text. There it is cut behind a newline, which merges with nothing. */
static mobiedit_status tokenize_behind(const me_vocab *vocab, const char *text, me_tokens *out,
                                       mobiedit_error *err) {
    static const char newline[] = "\n";
    if (!vocab->space_prefix) return tokenize(vocab, text, false, out, err);
    if (*text == ' ') return tokenize(vocab, text + 1, false, out, err);
    me_tokens head = {0}, all = {0};
    char *whole = me_strjoin(newline, text);
    mobiedit_status status =
        whole ? tokenize(vocab, newline, false, &head, err) : me_fail_memory(err, "text");
    if (status == MOBIEDIT_OK) status = tokenize(vocab, whole, false, &all, err);
    if (status == MOBIEDIT_OK && all.n > head.n && is_prefix(&head, &all)) {
        all.n -= head.n;
        memmove(all.ids, all.ids + head.n, (size_t)all.n * sizeof *all.ids);
        *out = all;
        all = (me_tokens){0};
    } else if (status == MOBIEDIT_OK) {
        status = tokenize(vocab, text, false, out, err);
    }
    me_free(whole);
    me_tokens_free(&head);
    me_tokens_free(&all);
    return status;
}

/* whole: prompt and continuation as one text; prompt: the first's own tokens. */
static mobiedit_status tokenize_parts(const me_vocab *vocab, const me_tokens *prompt, const char *whole,
                                      size_t n_prompt_bytes, me_tokens *out, mobiedit_error *err) {
    ME_TRY(me_tokenize(vocab, whole, out, err));
    if (is_prefix(prompt, out)) return MOBIEDIT_OK;
    me_tokens_free(out);
    /* The end of the prompt and the target share a token, which no model that was given the prompt can say.
     */
    me_tokens rest = {0};
    ME_TRY(tokenize_behind(vocab, whole + n_prompt_bytes, &rest, err));
    mobiedit_status status = append(prompt, &rest, out, err);
    me_tokens_free(&rest);
    return status;
}

/* A prompt that ends in one of a chat template's tokens is continued without a space. */
static bool ends_in_template(const me_vocab *vocab, const me_tokens *prompt, const char *text) {
    const int control = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED;
    return prompt->n > 0 && !me_ends_in_word(text) &&
           (llama_vocab_get_attr(vocab->vocab, prompt->ids[prompt->n - 1]) & control) != 0;
}

mobiedit_status me_tokenize_pair(const me_vocab *vocab, const char *prompt, const char *target,
                                 me_tokens *out, int *n_prompt, mobiedit_error *err) {
    me_tokens head = {0}, all = {0};
    ME_TRY(check_text(target, strlen(target), err));
    ME_TRY(me_tokenize(vocab, prompt, &head, err));
    const bool spaced = !ends_in_template(vocab, &head, prompt) && me_space_between(prompt, target);
    const size_t n = strlen(prompt), room = n + strlen(target) + 2;
    char *whole = me_calloc(room, 1);
    mobiedit_status status = whole ? MOBIEDIT_OK : me_fail_memory(err, "text");
    if (status == MOBIEDIT_OK) {
        (void)snprintf(whole, room, "%s%s%s", prompt, spaced ? " " : "", target);
        status = tokenize_parts(vocab, &head, whole, n, &all, err);
    }
    if (status == MOBIEDIT_OK) {
        *out = all;
        *n_prompt = head.n;
    }
    me_tokens_free(&head);
    me_free(whole);
    return status;
}
