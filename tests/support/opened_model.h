/* A model that is opened down to its session, on the native engine. */
#ifndef TESTS_OPENED_MODEL_H
#define TESTS_OPENED_MODEL_H

#include "base/pool.h"
#include "edit/session.h"

typedef struct {
    me_model *model;
    me_vocab *vocab;
    me_pool *pool;
    me_engine *engine;
    me_session *session;
} opened_model;

/* False where that fails. */
static inline bool opened_model_open(opened_model *o, const char *path, int threads) {
    return me_model_open(path, &o->model, NULL) == MOBIEDIT_OK &&
           me_vocab_open(path, &o->vocab, NULL) == MOBIEDIT_OK &&
           me_pool_open(threads, &o->pool, NULL) == MOBIEDIT_OK &&
           me_native_open(o->model, o->pool, NULL, &o->engine, NULL) == MOBIEDIT_OK &&
           me_session_open(o->engine, o->vocab, &o->session, NULL) == MOBIEDIT_OK;
}

static inline void opened_model_close(opened_model *o) {
    me_session_close(o->session);
    o->engine->ops->close(o->engine);
    me_pool_close(o->pool);
    me_vocab_close(o->vocab);
    me_model_close(o->model);
}

#endif
