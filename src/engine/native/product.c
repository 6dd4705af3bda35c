/* Quantises activations and multiplies them with a layer's matrices, by many threads. */
#include "engine/native/product.h"

#include "engine/native/profile.h"
#include "engine/native/vector.h"

void me_act_shape(me_native *engine, int64_t n_in, int n_rows) {
    me_activations *act = &engine->batch.act;
    act->n = n_rows;
    act->n_in = (int)n_in;
    act->n_blocks = ((int)n_in + ME_BLOCK - 1) / ME_BLOCK;
}

/* Whether rows with a base go through the weights as differences from it. */
static bool as_differences(const me_native *engine) {
    return engine->batch.varied && !engine->profile;
}

void me_act_quantize(me_native *engine, int first, int last) {
    /* Variations need their base's row, which another thread may still be writing; a profile needs to know
     * what they are multiplied with. */
    if (!as_differences(engine) && !me_profile_computes(engine))
        engine->kernels->quantize(&engine->batch.act, first, last);
}

typedef struct {
    me_native *engine;
    const me_product *products;
    int n;
    int64_t rows_per_task;
} products_job;

static void subtract_base_rows(void *context, int first, int last, int thread) {
    const products_job *job = context;
    me_batch *batch = &job->engine->batch;
    size_t n_in = (size_t)batch->act.n_in;
    (void)thread;
    for (int row = first; row < last; row++)
        if (batch->base_row[row] >= 0)
            me_add_scaled(batch->h + (size_t)row * n_in, batch->h + (size_t)batch->base_row[row] * n_in,
                          -1.0f, (int)n_in);
    job->engine->kernels->quantize(&batch->act, first, last);
}

static void add_base_rows(void *context, int first, int last, int thread) {
    const products_job *job = context;
    const me_batch *batch = &job->engine->batch;
    (void)thread;
    for (int i = 0; i < job->n; i++) {
        const me_product *product = &job->products[i];
        for (int row = first; row < last; row++)
            if (batch->base_row[row] >= 0)
                me_add_scaled(product->y + (size_t)row * product->ldy,
                              product->y + (size_t)batch->base_row[row] * product->ldy, 1.0f,
                              (int)product->weight->n_out);
    }
}

static size_t tasks_of(const me_product *product, int64_t rows_per_task) {
    return (size_t)((product->weight->n_out + rows_per_task - 1) / rows_per_task);
}

static void run_product(void *context, size_t task, int thread) {
    const products_job *job = context;
    const me_native *engine = job->engine;
    const me_product *product = job->products;
    for (size_t tasks; task >= (tasks = tasks_of(product, job->rows_per_task)); product++)
        task -= tasks;
    int64_t first = (int64_t)task * job->rows_per_task, last = first + job->rows_per_task;
    if (last > product->weight->n_out) last = product->weight->n_out;
    if (me_profile_computes(engine))
        me_profile_product(engine, product, first, last, thread);
    else
        engine->kernels->matmul(product->weight, &engine->batch.act, first, last, product->y, product->ldy,
                                engine->kernel_scratch + (size_t)thread * engine->kernel_scratch_bytes);
}

void me_products(me_native *engine, const me_product *products, int n) {
    int64_t panel = engine->kernels->panel_rows, panels = 0;
    for (int i = 0; i < n; i++)
        panels += (products[i].weight->n_out + panel - 1) / panel;
    int64_t per_task = panels / ((int64_t)me_pool_threads(engine->pool) * ME_TASKS_PER_THREAD);
    products_job job = {engine, products, n, (per_task < 1 ? 1 : per_task) * panel};
    size_t tasks = 0;
    for (int i = 0; i < n; i++)
        tasks += tasks_of(&products[i], job.rows_per_task);
    if (engine->profile) me_profile_input(engine, products->weight);
    if (as_differences(engine)) me_for_rows(engine, engine->batch.n_rows, subtract_base_rows, &job);
    me_pool_run(engine->pool, tasks, run_product, &job);
    if (as_differences(engine)) me_for_rows(engine, engine->batch.n_rows, add_base_rows, &job);
}
