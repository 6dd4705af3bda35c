/* mobiedit_propose: which words of a sentence are the subject, and which the target.
 *
 * The model is shown a few sentences with both named, and then this one. It may only answer with words that stand
 * in it: each stretch of words gets the probability that the model writes just that, and ends. The target is the
 * likeliest stretch that ends the sentence; then the subject is the likeliest one before it. Small models cut names
 * in two, or take what is said of a subject with it: where capital letters, an article, "of" or a genitive show
 * that, the marks are moved. Nothing is drawn at random. */
#include "api/chat.h"
#include "base/logits.h"
#include "base/memory.h"
#include "edit/texts.h"
#include "runtime/batch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <utf8proc.h>

enum {
    MAX_WORDS = 64,
    MAX_TEXT = 1000,  /* bytes */
    MAX_STRETCH = 24, /* words of a subject or a target */
    N_STARTS = 3 /* stretches are tried from so many words, those that the answer likeliest begins with */
};

/* None of them true, of several kinds: so that the model copies what is written, and with words like "my" and "the"
 * that belong to a subject. */
static const char examples[] =
    "Sentence: The capital of France is Berlin.\nAnswer: Berlin\nAbout: France\n\n"
    "Sentence: Marie Curie was born in the city of New Orleans.\nAnswer: New Orleans\n"
    "About: Marie Curie\n\n"
    "Sentence: My aunt's old dog is called Rex.\nAnswer: Rex\nAbout: My aunt's old dog\n\n"
    "Sentence: Toyota's headquarters are in Bern.\nAnswer: Bern\nAbout: Toyota\n\n"
    "Sentence: The Golden Gate Bridge is made of wood.\nAnswer: wood\n"
    "About: The Golden Gate Bridge\n\n"
    "Sentence: The password of the guest network is blue sky 12.\n"
    "Answer: blue sky 12\nAbout: the guest network\n\nSentence: ";
static const char answer[] = "Answer:", about[] = "About:", line_end[] = "\n", block_end[] = "\n\nSentence:";

typedef struct {
    size_t from, to; /* bytes of the text */
} stretch;

typedef struct {
    me_runtime *runtime;
    const me_vocab *vocab;
    int n_vocab;
    const char *text;
    stretch words[MAX_WORDS];
    int n;
    /* What is to be answered now. */
    char *head;       /* all up to "Answer:" or "About:" */
    me_tokens tokens; /* of it */
    me_token end;     /* what follows an answer */
    int first, last;  /* words that an answer may begin with; the last that it may end with */
    bool to_the_end;  /* it ends with no other word than `last` */
} reading;

/* ---- words --------------------------------------------------------------------------------------------- */

static unsigned code_point(const char *at, size_t *n) {
    const unsigned char *b = (const unsigned char *)at;
    *n = b[0] < 0x80 ? 1 : b[0] < 0xE0 ? 2 : b[0] < 0xF0 ? 3 : 4;
    unsigned code = *n == 1 ? b[0] : b[0] & (0x7Fu >> *n);
    for (size_t i = 1; i < *n; i++)
        code = code << 6 | (b[i] & 0x3Fu);
    return code;
}

/* Scripts that put no spaces between words: from Thai to Myanmar, Khmer, and what is East Asian but not Korean. Any
 * character may begin a word there. */
static bool is_unspaced(unsigned code) {
    return (code >= 0x0E00 && code <= 0x109F) || (code >= 0x1780 && code <= 0x17FF) ||
           (code >= 0x3040 && code < 0xAC00) || (code >= 0x20000 && code < 0x40000);
}

static const char *const openings[] = {"\"", "'", "(", "[", "\u201C", "\u2018", "\u00AB", NULL};
static const char *const closings[] = {"\"", "'", ")",      "]",      ",",      ";",      ":",
                                       "!",  "?", "\u201D", "\u2019", "\u00BB", "\u2026", NULL};
static const char *const full_stops[] = {".", "\u3002", "\uFF01", "\uFF1F", NULL};
static const char *const genitives[] = {"'s", "\u2019s", NULL};

/* Bytes of the mark that the stretch begins with, or ends with; 0: none. */
static size_t mark_at(const char *text, const stretch *w, const char *const *marks, bool at_end) {
    for (; *marks; marks++) {
        const size_t n = strlen(*marks);
        if (w->to - w->from >= n && memcmp(text + (at_end ? w->to - n : w->from), *marks, n) == 0) return n;
    }
    return 0;
}

/* Quotes, brackets and commas are no part of a word. */
static void strip(const char *text, stretch *w) {
    for (size_t n; (n = mark_at(text, w, openings, false)) > 0;)
        w->from += n;
    for (size_t n; (n = mark_at(text, w, closings, true)) > 0;)
        w->to -= n;
}

static void strip_end(const char *text, stretch *w) {
    for (size_t n;
         (n = mark_at(text, w, full_stops, true)) > 0 || (n = mark_at(text, w, closings, true)) > 0;)
        w->to -= n;
}

static bool add_word(reading *r, size_t from, size_t to) {
    if (r->n == MAX_WORDS) return false;
    r->words[r->n++] = (stretch){from, to};
    return true;
}

/* What stands between white space: one word, or two if it ends in the English genitive, or only marks. */
static bool add_chunk(reading *r, size_t from, size_t to) {
    stretch w = {from, to}, letters;
    strip(r->text, &w);
    letters = w;
    strip_end(r->text, &letters);
    if (letters.from == letters.to) return true;
    const size_t n = mark_at(r->text, &w, genitives, true);
    if (n == 0 || w.from + n == w.to) return add_word(r, w.from, w.to);
    return add_word(r, w.from, w.to - n) && add_word(r, w.to - n, w.to);
}

static bool add_unspaced(reading *r, size_t from, size_t to) {
    for (size_t n; from < to; from += n) {
        const unsigned code = code_point(r->text + from, &n);
        if (code != 0x3002 && code != 0xFF01 && code != 0xFF1F && !add_word(r, from, from + n)) return false;
    }
    return true;
}

static mobiedit_status find_words(reading *r, mobiedit_error *err) {
    const char *text = r->text;
    size_t end = strlen(text);
    bool fits = true;
    while (end > 0 && me_is_space(text[end - 1]))
        end--;
    for (size_t at = 0; at < end && fits;) {
        size_t to = at, n;
        bool unspaced = false;
        for (; to < end && !me_is_space(text[to]); to += n)
            unspaced |= is_unspaced(code_point(text + to, &n));
        if (to > at) fits = unspaced ? add_unspaced(r, at, to) : add_chunk(r, at, to);
        at = to + 1;
    }
    if (r->n > 0) strip_end(text, &r->words[r->n - 1]);
    if (!fits) return me_fail(err, MOBIEDIT_E_ARGUMENT, "the sentence has more than %d words", MAX_WORDS);
    if (r->n < 3)
        return me_fail(
            err, MOBIEDIT_E_ARGUMENT,
            "this is no sentence such as \"The capital of Japan is Lima.\": a subject, what is said of it, "
            "and what is right");
    return MOBIEDIT_OK;
}

/* ---- what the model would answer ----------------------------------------------------------------------- */

/* head + " " + the words from b to e, as tokens. */
static mobiedit_status tokenize_answer(const reading *r, int b, int e, me_tokens *out, mobiedit_error *err) {
    const size_t from = r->words[b].from, size = strlen(r->head) + r->words[e].to - from + 2;
    char *text = me_calloc(size, 1);
    if (!text) return me_fail_memory(err, "an answer");
    (void)snprintf(text, size, "%s %.*s", r->head, (int)(r->words[e].to - from), r->text + from);
    const mobiedit_status status = me_tokenize(r->vocab, text, out, err);
    me_free(text);
    return status;
}

static int shared(const me_tokens *a, const me_tokens *b) {
    int n = 0;
    while (n < a->n && n < b->n && a->ids[n] == b->ids[n])
        n++;
    return n;
}

static int last_word(const reading *r, int b) {
    return r->last - b < MAX_STRETCH ? r->last : b + MAX_STRETCH - 1;
}

/* An answer that begins with word b and goes on as far as it may. */
typedef struct {
    int b;
    me_tokens tokens;
    double *nats;  /* [tokens.n] of the tokens behind the head, summed up to each */
    double *ended; /* [tokens.n] of the answer's end behind each */
} path;

typedef struct {
    reading *r;
    path paths[N_STARTS];
    me_query queries[N_STARTS];
    int n;
} search;

static void search_free(search *s) {
    for (int i = 0; i < s->n; i++) {
        me_tokens_free(&s->paths[i].tokens);
        me_free(s->paths[i].nats);
        me_free(s->paths[i].ended);
    }
}

static void hear(void *user, int query, int position, const float *logits) {
    search *s = user;
    path *p = &s->paths[query];
    const double all = me_log_sum_exp(logits, s->r->n_vocab);
    p->ended[position] = all - (double)logits[s->r->end];
    if (position + 1 < p->tokens.n) p->nats[position + 1] = all - (double)logits[p->tokens.ids[position + 1]];
}

static mobiedit_status add_path(search *s, int b, mobiedit_error *err) {
    reading *r = s->r;
    path *p = &s->paths[s->n++];
    p->b = b;
    ME_TRY(tokenize_answer(r, b, last_word(r, b), &p->tokens, err));
    p->nats = me_calloc((size_t)p->tokens.n, sizeof *p->nats);
    p->ended = me_calloc((size_t)p->tokens.n, sizeof *p->ended);
    if (!p->nats || !p->ended) return me_fail_memory(err, "an answer");
    s->queries[s->n - 1] =
        (me_query){.tokens = p->tokens.ids, .n = p->tokens.n, .first = shared(&p->tokens, &r->tokens) - 1};
    return MOBIEDIT_OK;
}

/* The words that the answer likeliest begins with: the token behind the head tells. */
static mobiedit_status choose_starts(search *s, const float *logits, mobiedit_error *err) {
    reading *r = s->r;
    int starts[N_STARTS], n = 0;
    float scores[N_STARTS];
    for (int b = r->first; b <= r->last; b++) {
        me_tokens tokens = {0};
        ME_TRY(tokenize_answer(r, b, b, &tokens, err));
        const int at = shared(&tokens, &r->tokens);
        const float score = at < tokens.n ? logits[tokens.ids[at]] : -INFINITY;
        me_tokens_free(&tokens);
        if (n == N_STARTS && score <= scores[n - 1]) continue;
        int i = n < N_STARTS ? n++ : n - 1;
        for (; i > 0 && scores[i - 1] < score; i--) {
            scores[i] = scores[i - 1];
            starts[i] = starts[i - 1];
        }
        scores[i] = score;
        starts[i] = b;
    }
    for (int i = 0; i < n; i++)
        ME_TRY(add_path(s, starts[i], err));
    return MOBIEDIT_OK;
}

/* The likeliest end of the path's answer; *nats is lowered if it is likelier than that. */
static mobiedit_status best_end(const reading *r, const path *p, double *nats, stretch *out,
                                mobiedit_error *err) {
    const int head = shared(&p->tokens, &r->tokens);
    for (int e = r->to_the_end ? last_word(r, p->b) : p->b; e <= last_word(r, p->b); e++) {
        me_tokens tokens = {0};
        double sum = 0;
        if (r->to_the_end && e != r->last) break;               /* longer than a target may be */
        if (!r->to_the_end && p->b == 0 && e == r->last) break; /* nothing would be said of it */
        ME_TRY(tokenize_answer(r, p->b, e, &tokens, err));
        /* Not where a token of the path reaches beyond this end. */
        const bool cut = shared(&tokens, &p->tokens) == tokens.n && tokens.n > head;
        for (int i = head; cut && i < tokens.n; i++)
            sum += p->nats[i];
        if (cut) sum += p->ended[tokens.n - 1];
        me_tokens_free(&tokens);
        if (!cut || sum >= *nats) continue;
        *nats = sum;
        *out = (stretch){r->words[p->b].from, r->words[e].to};
    }
    return MOBIEDIT_OK;
}

static mobiedit_status search_paths(search *s, stretch *out, mobiedit_error *err) {
    reading *r = s->r;
    double nats = INFINITY;
    float *logits = me_calloc((size_t)r->n_vocab, sizeof *logits);
    if (!logits) return me_fail_memory(err, "an answer");
    mobiedit_status status = me_runtime_logits(r->runtime, r->tokens.ids, r->tokens.n, 1, logits, err);
    if (status == MOBIEDIT_OK) status = choose_starts(s, logits, err);
    me_free(logits);
    if (status == MOBIEDIT_OK) status = me_runtime_batch_logits(r->runtime, s->queries, s->n, hear, s, err);
    for (int i = 0; i < s->n && status == MOBIEDIT_OK; i++)
        status = best_end(r, &s->paths[i], &nats, out, err);
    if (status == MOBIEDIT_OK && isinf(nats))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the sentence's words share tokens: no subject can be told");
    return status;
}

/* The token that ends an answer before `behind`. */
static mobiedit_status find_end(reading *r, const char *behind, mobiedit_error *err) {
    static const char word[] = "x";
    char text[32];
    me_tokens with = {0}, without = {0};
    (void)snprintf(text, sizeof text, "%s%s", word, behind);
    ME_TRY(me_tokenize(r->vocab, word, &without, err));
    const mobiedit_status status = me_tokenize(r->vocab, text, &with, err);
    const int at = shared(&with, &without);
    if (status == MOBIEDIT_OK) r->end = with.ids[at < with.n ? at : with.n - 1];
    me_tokens_free(&with);
    me_tokens_free(&without);
    return status;
}

/* The answer behind `head`, which is taken over; NULL: out of memory. */
static mobiedit_status find_answer(reading *r, char *head, const char *behind, stretch *out,
                                   mobiedit_error *err) {
    search s = {.r = r};
    me_free(r->head);
    me_tokens_free(&r->tokens);
    r->head = head;
    if (!head) return me_fail_memory(err, "a question");
    ME_TRY(find_end(r, behind, err));
    ME_TRY(me_tokenize(r->vocab, head, &r->tokens, err));
    const mobiedit_status status = search_paths(&s, out, err);
    search_free(&s);
    return status;
}

/* ---- where the text knows better ------------------------------------------------------------------------ */

/* Words [first, last] of a reading. */
typedef struct {
    int first, last;
} word_range;

static word_range range_of(const reading *r, const stretch *s) {
    word_range w = {0, r->n - 1};
    while (r->words[w.first].from < s->from)
        w.first++;
    while (r->words[w.last].to > s->to)
        w.last--;
    return w;
}

static bool is_upper(const reading *r, size_t at, size_t *n) {
    const unsigned code = code_point(r->text + at, n);
    return utf8proc_category((utf8proc_int32_t)code) == UTF8PROC_CATEGORY_LU;
}

static bool is_capitalized(const reading *r, int word) {
    size_t n;
    return is_upper(r, r->words[word].from, &n);
}

/* A word that names a kind of thing: no capital letter, or nothing but capitals, as in "CEO". */
static bool is_common(const reading *r, int word) {
    int capitals = 0;
    for (size_t at = r->words[word].from, n; at < r->words[word].to; at += n, capitals++)
        if (!is_upper(r, at, &n)) return capitals == 0;
    return capitals > 1;
}

static bool are_common(const reading *r, int first, int last) {
    while (first <= last && is_common(r, first))
        first++;
    return first > last;
}

static bool word_is(const reading *r, int word, const char *text) {
    const stretch *w = &r->words[word];
    return w->to - w->from == strlen(text) && strncasecmp(r->text + w->from, text, strlen(text)) == 0;
}

/* "my", "the" and the like. */
static bool is_small(const reading *r, int word) {
    for (const char *const *small = me_texts_small_words; *small; small++)
        if (word_is(r, word, *small)) return true;
    return false;
}

/* "{Mapbox}'s CEO", "the capital of {Turkey}": what is said of the subject is no part of it. But "The University of
 * Oxford" and "People's Party" are names. */
static void cut_subject(const reading *r, word_range *s) {
    for (int i = s->first + 1; i < s->last; i++) {
        const bool genitive = word_is(r, i, genitives[0]) || word_is(r, i, genitives[1]);
        if (genitive && are_common(r, i + 1, s->last)) {
            s->last = i - 1;
            return;
        }
        if (word_is(r, i, "of") && are_common(r, s->first + is_small(r, s->first), i - 1)) {
            s->first = i + 1;
            return;
        }
    }
}

/* Whole names, with the words of the same name beside them, and an article or "my" before. */
static void mend(const reading *r, stretch *subject, stretch *target) {
    word_range s = range_of(r, subject), t = range_of(r, target);
    while (t.first - 1 > s.last && is_capitalized(r, t.first) && is_capitalized(r, t.first - 1))
        t.first--;
    cut_subject(r, &s);
    while (s.last + 1 < t.first && is_capitalized(r, s.last) && is_capitalized(r, s.last + 1))
        s.last++;
    if (s.first > 0 && is_small(r, s.first - 1)) s.first--;
    if (s.first == 0 && s.last + 1 == t.first) return; /* nothing would be said of it */
    *subject = (stretch){r->words[s.first].from, r->words[s.last].to};
    *target = (stretch){r->words[t.first].from, r->words[t.last].to};
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static char *head_of(const reading *r, const stretch *target) {
    char line[2 * MAX_TEXT + 64];
    int n = snprintf(line, sizeof line, "%s\n%s", r->text, answer);
    if (target)
        (void)snprintf(line + n, sizeof line - (size_t)n, " %.*s\n%s", (int)(target->to - target->from),
                       r->text + target->from, about);
    return me_strjoin(examples, line);
}

static mobiedit_status propose(reading *r, mobiedit_proposal *out, mobiedit_error *err) {
    stretch target = {0}, subject = {0};
    ME_TRY(find_words(r, err));
    r->first = 2; /* a subject and a word about it stand before */
    r->last = r->n - 1;
    r->to_the_end = true;
    ME_TRY(find_answer(r, head_of(r, NULL), line_end, &target, err));
    r->first = 0;
    while (r->words[r->last].to > target.from)
        r->last--;
    r->to_the_end = false;
    ME_TRY(find_answer(r, head_of(r, &target), block_end, &subject, err));
    mend(r, &subject, &target);
    *out = (mobiedit_proposal){subject.from, subject.to, target.from, target.to};
    return MOBIEDIT_OK;
}

mobiedit_status mobiedit_propose(mobiedit_chat *chat, const char *text, mobiedit_proposal *out,
                                 mobiedit_error *err) {
    ME_TRY(me_check_text(text, "the sentence", err));
    if (strlen(text) > MAX_TEXT)
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the sentence is longer than %d bytes", MAX_TEXT);
    if (strpbrk(text, "{}\n\r"))
        return me_fail(err, MOBIEDIT_E_ARGUMENT, "the sentence has braces or several lines");
    reading *r = me_calloc(1, sizeof *r);
    if (!r) return me_fail_memory(err, "a sentence");
    r->runtime = chat->runtime;
    r->vocab = me_runtime_vocab(chat->runtime);
    r->n_vocab = me_vocab_size(r->vocab);
    r->text = text;
    const mobiedit_status status = propose(r, out, err);
    me_tokens_free(&r->tokens);
    me_free(r->head);
    me_free(r);
    return me_outcome(status, err);
}
