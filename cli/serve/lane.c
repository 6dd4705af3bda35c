/* A thread that does what others ask of it, one thing after the other. */
#include "serve/lane.h"

#include <pthread.h>
#include <stdlib.h>

struct lane {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    lane_fn fn; /* to be run, or running; NULL: the lane is free */
    void *user;
    int waiting; /* callers of lane_run, the one whose turn it is among them */
    unsigned long turn, next_turn;
    bool closing;
};

static void *work(void *user) {
    lane *l = user;
    (void)pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->fn && !l->closing)
            (void)pthread_cond_wait(&l->changed, &l->lock);
        if (!l->fn) break;
        const lane_fn fn = l->fn;
        (void)pthread_mutex_unlock(&l->lock);
        fn(l->user);
        (void)pthread_mutex_lock(&l->lock);
        l->fn = NULL;
        (void)pthread_cond_broadcast(&l->changed);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return NULL;
}

lane *lane_open(void) {
    lane *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    (void)pthread_mutex_init(&l->lock, NULL);
    (void)pthread_cond_init(&l->changed, NULL);
    if (pthread_create(&l->thread, NULL, work, l) == 0) return l;
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
    return NULL;
}

void lane_close(lane *l) {
    if (!l) return;
    (void)pthread_mutex_lock(&l->lock);
    l->closing = true;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
    (void)pthread_join(l->thread, NULL);
    (void)pthread_cond_destroy(&l->changed);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

bool lane_run(lane *l, int most, lane_fn fn, void *user) {
    (void)pthread_mutex_lock(&l->lock);
    const bool taken = l->waiting <= most;
    if (taken) {
        const unsigned long turn = l->next_turn++;
        l->waiting++;
        while (l->fn || l->turn != turn)
            (void)pthread_cond_wait(&l->changed, &l->lock);
        l->fn = fn;
        l->user = user;
        (void)pthread_cond_broadcast(&l->changed);
        while (l->fn)
            (void)pthread_cond_wait(&l->changed, &l->lock);
        l->turn++;
        l->waiting--;
        (void)pthread_cond_broadcast(&l->changed);
    }
    (void)pthread_mutex_unlock(&l->lock);
    return taken;
}

void lane_start(lane *l, lane_fn fn, void *user) {
    (void)pthread_mutex_lock(&l->lock);
    while (l->fn)
        (void)pthread_cond_wait(&l->changed, &l->lock);
    l->fn = fn;
    l->user = user;
    (void)pthread_cond_broadcast(&l->changed);
    (void)pthread_mutex_unlock(&l->lock);
}
