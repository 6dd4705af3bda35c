/* Does the model say the target already? Asked after the prompt, and in a chat: a fact that holds in one of the
 * two only is worth an edit. */
#include "api/edit_job.h"
#include "api/target.h"
#include "base/memory.h"
#include "base/words.h"
#include "runtime/says.h"

#include <string.h>

enum { DEFAULT_AFTER_TOKENS = 24 };

mobiedit_status me_job_continuation(const me_edit_job *job, me_runtime *runtime, char **out,
                                    mobiedit_error *err) {
    const int max = job->options.max_after_tokens;
    const me_generate_options options = {.max_tokens = max ? max : DEFAULT_AFTER_TOKENS,
                                         .stop_at_newline = true,
                                         .stop_at_sentence = true,
                                         .least_bytes = strlen(job->ask.prompt->target)};
    me_tokens tokens = {0};
    ME_TRY(me_tokenize(me_runtime_vocab(runtime), job->ask.prompt->text, &tokens, err));
    const mobiedit_status status = me_runtime_generate(runtime, tokens.ids, tokens.n, &options, out, err);
    me_tokens_free(&tokens);
    return status;
}

/* With what is added to it, a longer prompt does not fit the context that it is verified in; and what a
 * solve costs grows with the target. Either would be solved for minutes before. */
static mobiedit_status check_length(const me_edit_job *job, mobiedit_error *err) {
    enum { MAX_PROMPT = ME_RUNTIME_CONTEXT - 128, MAX_TARGET = 20 };
    const me_prompt *prompt = job->ask.prompt;
    me_session *session; /* which comes with the vocabulary */
    me_tokens tokens = {0};
    int n_prompt;
    ME_TRY(me_handle_session(job->handle, &session, err));
    ME_TRY(me_tokenize_pair(job->handle->vocab, prompt->text, prompt->target, &tokens, &n_prompt, err));
    const int n_target = tokens.n - n_prompt;
    me_tokens_free(&tokens);
    if (n_prompt > MAX_PROMPT)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the prompt has %d tokens, but at most %d can be edited",
                       n_prompt, MAX_PROMPT);
    if (n_target > MAX_TARGET)
        return me_fail(err, MOBIEDIT_E_ARGUMENT,
                       "the target has %d tokens, but at most %d can be edited: shorten it", n_target,
                       MAX_TARGET);
    return MOBIEDIT_OK;
}

/* ---- asked in chat ----------------------------------------------------------------------------------- */

/* Whether the prompt is a message of a chat already. */
static mobiedit_status is_chat(const me_vocab *vocab, const me_prompt *p, bool *out, mobiedit_error *err) {
    me_tokens tokens = {0};
    size_t begin, end;
    ME_TRY(me_tokenize(vocab, p->text, &tokens, err));
    me_message_at(vocab, &tokens, p->text, p->subject_begin, p->subject_end, &begin, &end);
    me_tokens_free(&tokens);
    *out = begin > 0 || end < strlen(p->text);
    return MOBIEDIT_OK;
}

/* The prompt as a user's message: "Complete the sentence: I am allergic to". A question cannot be made of any
 * prompt in any language. The prompt alone is no request: some models answer it ("I am sorry to hear that"),
 * where asked to complete it SmolLM2 and Qwen2.5 give a whole sentence, in which the prompt's own words, a
 * name or "I" of the user's mean what they mean there. *none: the model has no template that takes it. */
static mobiedit_status chat_tokens(me_runtime *runtime, const char *prompt, me_tokens *out, bool *none,
                                   mobiedit_error *err) {
    mobiedit_error why = {0};
    char *text = me_strjoin("Complete the sentence: ", prompt);
    if (!text) return me_fail_memory(err, "a question");
    const me_chat_message message = {.role = "user", .content = text};
    const mobiedit_status status = me_runtime_chat_tokens(runtime, &message, 1, out, &why);
    me_free(text);
    *none = status == MOBIEDIT_E_UNSUPPORTED;
    return status == MOBIEDIT_OK || *none ? MOBIEDIT_OK : me_fail(err, status, "%s", why.message);
}

/* Whether the target is in the answer, as words of its own. */
static bool names(const char *answer, const char *target) {
    size_t begin, end;
    while (me_is_space(*target))
        target++;
    return me_find_words(answer, 0, target, &begin, &end);
}

/* Whether the target is in the answer, or there is nothing to ask in a chat. */
static mobiedit_status says_in_chat(const me_edit_job *job, me_runtime *runtime, bool *said,
                                    mobiedit_error *err) {
    enum { ANSWER = 32 };
    const me_generate_options options = {.max_tokens = ANSWER};
    const me_prompt *prompt = job->ask.prompt;
    me_tokens tokens = {0};
    char *answer = NULL;
    ME_TRY(is_chat(me_runtime_vocab(runtime), prompt, said, err));
    if (*said) return MOBIEDIT_OK;
    ME_TRY(chat_tokens(runtime, prompt->text, &tokens, said, err));
    if (*said || tokens.n + ANSWER > ME_RUNTIME_CONTEXT) {
        me_tokens_free(&tokens);
        *said = true;
        return MOBIEDIT_OK;
    }
    const mobiedit_status status = me_runtime_generate(runtime, tokens.ids, tokens.n, &options, &answer, err);
    if (status == MOBIEDIT_OK) *said = names(answer, prompt->target);
    me_free(answer);
    me_tokens_free(&tokens);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static mobiedit_status ask_runtime(me_edit_job *job, bool *already, mobiedit_error *err) {
    me_runtime *runtime;
    me_said said;
    ME_TRY(me_handle_runtime(job->handle, &runtime, err));
    ME_TRY(me_runtime_says(runtime, job->ask.prompt->text, job->ask.prompt->target, &said, err));
    *already = said == ME_SAID_WHOLE;
    if (*already) ME_TRY(says_in_chat(job, runtime, already, err));
    if (!*already) return MOBIEDIT_OK;
    job->result->solve.stop = MOBIEDIT_STOP_ALREADY_SAID;
    return job->ask.with_texts ? me_job_continuation(job, runtime, &job->result->before, err) : MOBIEDIT_OK;
}

/* Looks in our own engine first: most edits are of facts the model does not say, and for those libllama need
 * not be loaded twice. Sets result->solve.stop to ALREADY_SAID where the runtime agrees that the target is said
 * without an edit. */
mobiedit_status me_job_is_said(me_edit_job *job, bool *already, mobiedit_error *err) {
    me_target_view view;
    ME_TRY(check_length(job, err));
    ME_TRY(me_target_look(job->handle, job->ask.prompt, &view, err));
    job->has_follow = view.has_follow;
    job->prompt.follow = view.follow;
    job->prompt.teach_follow = view.prolonged && view.has_follow;
    *already = !job->options.force && (view.said == ME_SAID_WHOLE || view.said == ME_SAID_OPEN);
    return *already ? ask_runtime(job, already, err) : MOBIEDIT_OK;
}
