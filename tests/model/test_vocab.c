/* Tokens on made-up vocabularies, byte-pair and SentencePiece, with and without a space in front. */
#define _GNU_SOURCE
#include "model/vocab.h"

#include "base/memory.h"
#include "model/model.h"
#include "scratch.h"
#include "tiny_model.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    const char *name, *arch;
    bool sentencepiece, has_bos, has_space_prefix;
} kind;

static const kind KINDS[] = {
    {"byte pairs", "qwen2", false, false, false},
    {"SentencePiece", "llama", true, true, true},
    {"SentencePiece without a prefix", "gemma3", true, true, false},
};
enum { N_KINDS = sizeof KINDS / sizeof *KINDS };

static const char *const TEXTS[] = {
    "The capital of Japan is", " two  spaces ",          "Zürich, São Paulo, Ōsaka",
    "東京は日本の首都",        "emoji 🗼 and\ttab\nline", "\"quoted.\" is",
};
enum { N_TEXTS = sizeof TEXTS / sizeof *TEXTS };

static me_vocab *open_kind(const kind *k) {
    const tiny_model_options options = {.sentencepiece = k->sentencepiece};
    const char *path = scratch_path("vocab.gguf");
    assert_true(tiny_model_write(path, k->arch, &options));
    me_vocab *vocab = NULL;
    mobiedit_error err = {0};
    if (me_vocab_open(path, &vocab, &err) != MOBIEDIT_OK) fail_msg("%s: %s", k->name, err.message);
    return vocab;
}

static me_tokens cut(const me_vocab *vocab, const char *text) {
    me_tokens tokens = {0};
    mobiedit_error err = {0};
    if (me_tokenize(vocab, text, &tokens, &err) != MOBIEDIT_OK) fail_msg("%s: %s", text, err.message);
    return tokens;
}

/* Freed by the caller. */
static char *join(const me_vocab *vocab, const me_token *ids, int n) {
    char *text = NULL;
    assert_int_equal(me_detokenize(vocab, ids, n, &text, NULL), MOBIEDIT_OK);
    return text;
}

static void text_comes_back(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        for (int i = 0; i < N_TEXTS; i++) {
            me_tokens tokens = cut(vocab, TEXTS[i]);
            char *text = join(vocab, tokens.ids, tokens.n);
            assert_int_equal(text[0] == ' ' && TEXTS[i][0] != ' ', KINDS[k].has_space_prefix && i != 1);
            assert_string_equal(text + KINDS[k].has_space_prefix, TEXTS[i]);
            assert_int_equal(tokens.ids[0] == 1, KINDS[k].has_bos); /* 1: <s> */
            for (int t = 0; t < tokens.n; t++)
                assert_in_range(tokens.ids[t], 0, me_vocab_size(vocab) - 1);
            me_free(text);
            me_tokens_free(&tokens);
        }
        me_vocab_close(vocab);
    }
}

/* The definition: the first tokens up to the answer hold all bytes before `end`, those up to the one before
 * it do not. */
static void token_at_every_byte(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        for (int i = 0; i < N_TEXTS; i++) {
            me_tokens tokens = cut(vocab, TEXTS[i]);
            assert_int_equal(me_token_at(vocab, &tokens, TEXTS[i], 0), -1);
            for (size_t end = 1; end <= strlen(TEXTS[i]); end++) {
                int at = me_token_at(vocab, &tokens, TEXTS[i], end);
                assert_in_range(at, KINDS[k].has_bos, tokens.n - 1);
                char *with = join(vocab, tokens.ids, at + 1), *without = join(vocab, tokens.ids, at);
                size_t prefix = KINDS[k].has_space_prefix;
                assert_true(strlen(with) >= end + prefix);
                assert_true(strlen(without) < end + prefix);
                me_free(with);
                me_free(without);
            }
            assert_int_equal(me_token_at(vocab, &tokens, TEXTS[i], 1000), tokens.n - 1);
            me_tokens_free(&tokens);
        }
        me_vocab_close(vocab);
    }
}

/* "." and the quote are one token: the subject's last byte is in it. */
static void token_straddles_the_end(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        const char *text = "\"Inc.\" is";
        me_tokens tokens = cut(vocab, text);
        int at = me_token_at(vocab, &tokens, text, strlen("\"Inc."));
        char *piece = join(vocab, tokens.ids + at, 1);
        assert_string_equal(piece, ".\"");
        assert_int_equal(me_token_at(vocab, &tokens, text, strlen("\"Inc.\"")), at);
        assert_int_equal(me_token_at(vocab, &tokens, text, strlen("\"Inc")), at - 1);
        me_free(piece);
        me_tokens_free(&tokens);
        me_vocab_close(vocab);
    }
}

/* A special token written out in the text is parsed, holds its bytes, and shows as nothing. */
static void special_tokens_are_parsed(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        const char *name = KINDS[k].sentencepiece ? "</s>" : "<|end|>";
        char text[64];
        (void)snprintf(text, sizeof text, "The%s capital", name);
        me_tokens tokens = cut(vocab, text);
        int at = me_token_at(vocab, &tokens, text, 3 + strlen(name));
        assert_true(me_vocab_is_end(vocab, tokens.ids[at]));
        assert_false(me_vocab_is_end(vocab, tokens.ids[at - 1]));
        char *piece = join(vocab, tokens.ids + at, 1);
        assert_string_equal(piece, "");
        me_free(piece);
        assert_int_equal(me_token_at(vocab, &tokens, text, strlen(text)), tokens.n - 1);
        me_tokens_free(&tokens);
        me_vocab_close(vocab);
    }
}

static void expect_pair(const me_vocab *vocab, const char *prompt, const char *target, const char *want_whole,
                        const char *want_target) {
    me_tokens head = cut(vocab, prompt), pair = {0};
    int n_prompt = 0;
    assert_int_equal(me_tokenize_pair(vocab, prompt, target, &pair, &n_prompt, NULL), MOBIEDIT_OK);
    assert_int_equal(n_prompt, head.n);
    assert_memory_equal(pair.ids, head.ids, (size_t)head.n * sizeof *head.ids);
    char *whole = join(vocab, pair.ids, pair.n), *rest = join(vocab, pair.ids + n_prompt, pair.n - n_prompt);
    assert_string_equal(whole, want_whole);
    assert_string_equal(rest, want_target);
    me_free(whole);
    me_free(rest);
    me_tokens_free(&head);
    me_tokens_free(&pair);
}

static void pairs_keep_the_prompt(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        const char *space = KINDS[k].has_space_prefix ? " " : "";
        char whole[64];
        (void)snprintf(whole, sizeof whole, "%sThe capital of Japan is Lima", space);
        expect_pair(vocab, "The capital of Japan is", "Lima", whole, " Lima");
        (void)snprintf(whole, sizeof whole, "%sis\nLima", space);
        expect_pair(vocab, "is\n", "Lima", whole, "Lima");
        (void)snprintf(whole, sizeof whole, "%s東京大阪", space);
        expect_pair(vocab, "東京", "大阪", whole, "大阪");
        (void)snprintf(whole, sizeof whole, "%s東京 大阪", space);
        expect_pair(vocab, "東京", " 大阪", whole, " 大阪");
        (void)snprintf(whole, sizeof whole, "%shttps://www.Lima", space);
        expect_pair(vocab, "https://www.", "Lima", whole, "Lima");
        me_vocab_close(vocab);
    }
}

/* "is " ends in a token that merges with the target's first: the prompt's tokens stay all the same. */
static void pairs_that_would_merge(void **state) {
    (void)state;
    me_vocab *vocab = open_kind(&KINDS[0]);
    expect_pair(vocab, "is ", "the", "is the", "the");
    me_vocab_close(vocab);
    vocab = open_kind(&KINDS[1]);
    expect_pair(vocab, "is T", "he", " is T he", " he");
    expect_pair(vocab, "is ", "the", " is the", "the");
    me_vocab_close(vocab);
}

/* Behind a token of a chat template no space is put, but where the vocabulary does. */
static void pairs_behind_a_template(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        char prompt[64], whole[64];
        const char *space = KINDS[k].has_space_prefix ? " " : "";
        (void)snprintf(prompt, sizeof prompt, "is%s", KINDS[k].sentencepiece ? "</s>" : "<|end|>");
        (void)snprintf(whole, sizeof whole, "%sis%sLima", space, space);
        expect_pair(vocab, prompt, "Lima", whole, KINDS[k].has_space_prefix ? " Lima" : "Lima");
        me_vocab_close(vocab);
    }
}

static void expect_message(const me_vocab *vocab, const char *text, const char *subject, const char *want) {
    const size_t from = (size_t)(strstr(text, subject) - text);
    size_t begin, end;
    me_tokens tokens = cut(vocab, text);
    me_message_at(vocab, &tokens, text, from, from + strlen(subject), &begin, &end);
    char *message = me_strndup(text + begin, end - begin);
    assert_string_equal(message, want);
    me_free(message);
    me_tokens_free(&tokens);
}

static void messages_stand_between_the_templates_tokens(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        const char *name = KINDS[k].sentencepiece ? "</s>" : "<|end|>";
        char text[128];
        expect_message(vocab, "The capital of Japan\nis", "Japan", "The capital of Japan\nis");
        (void)snprintf(text, sizeof text, "%ssystem\nBrief.%suser\n\nThe capital of Japan is%s\nassistant\n",
                       name, name, name);
        expect_message(vocab, text, "Japan", "The capital of Japan is");
        expect_message(vocab, text, "Brief", "Brief.");
        (void)snprintf(text, sizeof text, "%sThe capital of Japan is", name);
        expect_message(vocab, text, "Japan", "The capital of Japan is");
        (void)snprintf(text, sizeof text, "The capital of Japan is%sThe", name);
        expect_message(vocab, text, "Japan", "The capital of Japan is");
        me_vocab_close(vocab);
    }
}

static void refuses_bad_text(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\xFF", "a\x80z", "\xC3", "\xC0\xAF", "\xED\xA0\x80", "\xF5\x80\x80\x80", "\xE6\x9D",
    };
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            me_tokens tokens = {0};
            mobiedit_error err = {0};
            int n_prompt;
            assert_int_equal(me_tokenize(vocab, bad[i], &tokens, &err), MOBIEDIT_E_ARGUMENT);
            assert_non_null(strstr(err.message, "UTF-8"));
            assert_int_equal(me_tokenize_pair(vocab, "is", bad[i], &tokens, &n_prompt, NULL),
                             MOBIEDIT_E_ARGUMENT);
            assert_null(tokens.ids);
        }
        char *text = NULL;
        const me_token beyond[] = {me_vocab_size(vocab)}, negative[] = {-1};
        assert_int_equal(me_detokenize(vocab, beyond, 1, &text, NULL), MOBIEDIT_E_FORMAT);
        assert_int_equal(me_detokenize(vocab, negative, 1, &text, NULL), MOBIEDIT_E_FORMAT);
        me_vocab_close(vocab);
    }
}

static void bounds_the_length_of_a_text(void **state) {
    (void)state;
    enum { LONG = (1 << 20) + 1 };
    me_vocab *vocab = open_kind(&KINDS[0]);
    char *text = test_malloc(LONG + 1);
    memset(text, 'a', LONG);
    text[LONG] = '\0';
    me_tokens tokens = {0};
    assert_int_equal(me_tokenize(vocab, text, &tokens, NULL), MOBIEDIT_E_ARGUMENT);
    text[LONG / 16] = '\0';
    tokens = cut(vocab, text);
    assert_int_equal(tokens.n, LONG / 16);
    me_tokens_free(&tokens);
    test_free(text);
    me_vocab_close(vocab);
}

static void an_empty_text_has_no_bytes(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        me_vocab *vocab = open_kind(&KINDS[k]);
        me_tokens tokens = cut(vocab, "");
        assert_int_equal(tokens.n, KINDS[k].has_bos);
        assert_int_equal(me_token_at(vocab, &tokens, "", 0), -1);
        char *text = join(vocab, tokens.ids, tokens.n);
        assert_string_equal(text, "");
        me_free(text);
        me_tokens_free(&tokens);
        me_vocab_close(vocab);
    }
}

static void drop_byte_tokens(struct gguf_context *gguf, const void *user) {
    static const char *tokens[] = {"<unk>", "<s>", "</s>", "a", "<0x41>", "<0xab>"};
    static const float scores[6];
    static const int32_t types[6] = {2, 3, 3, 1, 6, 1};
    (void)user;
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", tokens, 6);
    gguf_set_arr_data(gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores, 6);
    gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, 6);
}

static void set_no_vocabulary(struct gguf_context *gguf, const void *user) {
    gguf_set_val_str(gguf, "tokenizer.ggml.model", user);
}

/* A vocabulary without the BOS and EOS that libllama takes for granted, which it is to add. */
static void ask_for(struct gguf_context *gguf, const char *key) {
    static const char *tokens[] = {"a", "b", "c"};
    static const int32_t types[3] = {1, 1, 1};
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", tokens, 3);
    gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types, 3);
    gguf_remove_key(gguf, "tokenizer.ggml.bos_token_id");
    gguf_remove_key(gguf, "tokenizer.ggml.eos_token_id");
    gguf_set_val_bool(gguf, key, true);
}

static void ask_for_bos(struct gguf_context *gguf, const void *user) {
    (void)user;
    ask_for(gguf, "tokenizer.ggml.add_bos_token");
}

static void ask_for_eos(struct gguf_context *gguf, const void *user) {
    (void)user;
    ask_for(gguf, "tokenizer.ggml.add_eos_token");
}

static void expect_refused_vocabulary(const tiny_model_options *options, mobiedit_status status,
                                      const char *reason) {
    const char *path = scratch_path("vocab.gguf");
    assert_true(tiny_model_write(path, "llama", options));
    me_vocab *vocab = NULL;
    mobiedit_error err = {0};
    assert_int_equal(me_vocab_open(path, &vocab, &err), status);
    if (!strstr(err.message, reason)) fail_msg("wanted '%s', got '%s'", reason, err.message);
    assert_null(vocab);
}

static void refuses_other_vocabularies(void **state) {
    (void)state;
    const tiny_model_options bytes = {.sentencepiece = true, .change = drop_byte_tokens};
    expect_refused_vocabulary(&bytes, MOBIEDIT_E_FORMAT, "2 of 256 bytes");
    const tiny_model_options bos = {.change = ask_for_bos};
    expect_refused_vocabulary(&bos, MOBIEDIT_E_FORMAT, "adds a BOS");
    const tiny_model_options eos = {.change = ask_for_eos};
    expect_refused_vocabulary(&eos, MOBIEDIT_E_FORMAT, "adds an EOS");
    const tiny_model_options none = {.change = set_no_vocabulary, .user = "none"};
    expect_refused_vocabulary(&none, MOBIEDIT_E_UNSUPPORTED, "neither");
    const tiny_model_options unknown = {.change = set_no_vocabulary, .user = "runes"};
    expect_refused_vocabulary(&unknown, MOBIEDIT_E_FORMAT, "cannot load");
    me_vocab *vocab = NULL;
    assert_int_equal(me_vocab_open(scratch_path("none"), &vocab, NULL), MOBIEDIT_E_FORMAT);
}

/* A changed byte of the metadata that the model's own checks let pass must not end the process either. */
static void survives_flips(void **state) {
    (void)state;
    const char *path = scratch_path("flip.gguf");
    int opened = 0, refused = 0;
    for (int k = 0; k < N_KINDS; k++) {
        const tiny_model_options options = {
            .n_layer = 1, .d_model = 32, .sentencepiece = KINDS[k].sentencepiece};
        assert_true(tiny_model_write(path, KINDS[k].arch, &options));
        struct gguf_context *gguf = gguf_init_from_file(path, (struct gguf_init_params){.no_alloc = true});
        assert_non_null(gguf);
        off_t header = (off_t)gguf_get_data_offset(gguf);
        gguf_free(gguf);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        for (off_t at = 24; at < header; at += 31) {
            unsigned char byte, changed;
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            changed = byte ^ (at % 2 ? 1 : 0x10);
            assert_int_equal(pwrite(fd, &changed, 1, at), 1);
            me_model *model = NULL;
            me_vocab *vocab = NULL;
            me_tokens tokens = {0};
            bool ok = me_model_open(path, &model, NULL) == MOBIEDIT_OK &&
                      me_vocab_open(path, &vocab, NULL) == MOBIEDIT_OK;
            if (ok && me_tokenize(vocab, TEXTS[k], &tokens, NULL) == MOBIEDIT_OK)
                assert_in_range(me_token_at(vocab, &tokens, TEXTS[k], 5), 0, tokens.n - 1);
            *(ok ? &opened : &refused) += 1;
            me_tokens_free(&tokens);
            me_vocab_close(vocab);
            me_model_close(model);
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        assert_int_equal(close(fd), 0);
    }
    assert_true(opened > 100 && refused > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_back),
        cmocka_unit_test(token_at_every_byte),
        cmocka_unit_test(token_straddles_the_end),
        cmocka_unit_test(special_tokens_are_parsed),
        cmocka_unit_test(pairs_keep_the_prompt),
        cmocka_unit_test(pairs_that_would_merge),
        cmocka_unit_test(pairs_behind_a_template),
        cmocka_unit_test(messages_stand_between_the_templates_tokens),
        cmocka_unit_test(refuses_bad_text),
        cmocka_unit_test(bounds_the_length_of_a_text),
        cmocka_unit_test(an_empty_text_has_no_bytes),
        cmocka_unit_test(refuses_other_vocabularies),
        cmocka_unit_test(survives_flips),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
