/* Tokens through libllama's own vocabulary, so that text is cut exactly as llama.cpp cuts it. */
#ifndef ME_MODEL_VOCAB_H
#define ME_MODEL_VOCAB_H

#include "base/error.h"
#include "model/chat_template.h"

#include <stddef.h>
#include <stdint.h>

typedef struct me_vocab me_vocab;
typedef int32_t me_token;

typedef struct {
    me_token *ids; /* freed with me_tokens_free */
    int n;
} me_tokens;

/* The file is one that me_model_open accepts: libllama ends the process on some damaged ones. Its vocabulary
 * then has the model's n_vocab tokens. */
mobiedit_status me_vocab_open(const char *model_path, me_vocab **out, mobiedit_error *err);
void me_vocab_close(me_vocab *vocab);
int me_vocab_size(const me_vocab *vocab);

/* Tokens of a text as llama.cpp makes them for a prompt: the model's own BOS rule, special tokens parsed, no
 * EOS. E_ARGUMENT where the text is not UTF-8 or longer than 1 MiB. */
mobiedit_status me_tokenize(const me_vocab *vocab, const char *text, me_tokens *out, mobiedit_error *err);
void me_tokens_free(me_tokens *tokens);

/* Adds one. */
mobiedit_status me_tokens_add(me_tokens *tokens, me_token token, mobiedit_error *err);

/* The text of tokens, piece after piece, specials rendered as nothing: a SentencePiece vocabulary that puts a
 * space before every text shows it. *out is freed with me_free. */
mobiedit_status me_detokenize(const me_vocab *vocab, const me_token *ids, int n, char **out,
                              mobiedit_error *err);

/* Index in tokens (of `text`) of the last token that holds a byte of text[0, end): found by summing the byte
 * lengths of the pieces, so it is right where a token straddles `end`. -1 where there is none (end == 0). */
int me_token_at(const me_vocab *vocab, const me_tokens *tokens, const char *text, size_t end);

/* Of a text (tokens) in a chat template's form, the bytes [*begin, *end) of the message that holds the bytes
 * [from, to): what stands between two of the template's tokens, without the line that names the role. The
 * whole text where there are no such tokens. */
void me_message_at(const me_vocab *vocab, const me_tokens *tokens, const char *text, size_t from, size_t to,
                   size_t *begin, size_t *end);

/* The messages in the model's own chat template, the assistant's turn opened, without the BOS that
 * me_tokenize adds. *out is freed with me_free. E_UNSUPPORTED if the model has no chat template, or it fails
 * (chat_template.h). */
mobiedit_status me_vocab_chat(const me_vocab *vocab, const me_chat_message *messages, size_t n, char **out,
                              mobiedit_error *err);

/* The text of the token that ends a turn of a chat, or a whole text, as a chat template writes it; "" if the model has
 * none. *out is freed with me_free. */
mobiedit_status me_vocab_end_text(const me_vocab *vocab, bool of_turn, char **out, mobiedit_error *err);

bool me_vocab_is_end(const me_vocab *vocab, me_token token); /* end of generation */

/* Tokens of prompt + target with the prompt's own tokens first, as a server makes them; *n_prompt is their
 * number, the rest are the target's: what a model that was given the prompt would say. A space is put between
 * the two where the prompt's text asks for one (base/words.h) and the target brings none, but never behind a
 * token of a chat template. Where the two would share a token, the target is cut by itself. */
mobiedit_status me_tokenize_pair(const me_vocab *vocab, const char *prompt, const char *target,
                                 me_tokens *out, int *n_prompt, mobiedit_error *err);

#endif
