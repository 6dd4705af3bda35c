/* Speed of each kernel table against ggml's CPU mul_mat on the same product, in GOPS (two operations a
 * multiply-add), quantisation of the activations included on both sides.
 *
 * ggml runs twice where it can: on the weights as the file has them, and repacked into the layout
 * that it prefers on this processor. The contenders take turns, so that what disturbs the machine
 * disturbs all; the medians of the rounds are printed, and of the last table's speed to that of the
 * better of ggml's two in the same round, and to the roof: a loop of the same multiply-add
 * instruction that never leaves the registers. */
#define _POSIX_C_SOURCE 200809L
#include "base/memory.h"
#include "base/pool.h"
#include "engine/native/kernels/kernels.h"
#include "roof.h"
#include "timing.h"

#include <ggml-backend.h>
#include <ggml-cpu.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_CONTENDERS = 8, ROWS_A_TASK = 32, MAX_THREADS = 64, MANY_COLUMNS = 256 };

static const char usage[] =
    "usage: bench_matmul [-t TYPE,TYPE...] [-n COLUMNS,...] [-j THREADS,...] [-s "
    "ROWSxVALUES,...] [-r ROUNDS]\n"
    "TYPE as ggml names it: q4_0 q4_1 q5_0 q5_1 q8_0 q2_K q3_K q4_K q5_K q6_K iq4_nl iq4_xs "
    "f16 bf16 f32\n";

/* The product as ggml computes it, the weight in one kind of buffer. */
typedef struct {
    struct ggml_context *weights, *values;
    ggml_backend_buffer_t weight_buffer, value_buffer;
    struct ggml_cgraph *graph;
    struct ggml_cplan plan;
} ggml_product;

/* One product: a weight of n_out rows of n_in values, n columns. */
typedef struct {
    me_tensor weight;
    me_activations act;
    float *x, *y;
    void *scratch[MAX_THREADS];
    me_pool *pool;
    struct ggml_threadpool *ggml_pool;
    const me_kernels *table; /* the contender at work */
    ggml_product plain, repacked;
} product;

/* A table of ours, or one of ggml's two ways. */
typedef struct {
    const char *name;
    const me_kernels *table;
    ggml_product *ggml; /* NULL: it cannot do this product */
} contender;

static void *need(void *p) {
    if (p) return p;
    fprintf(stderr, "bench_matmul: out of memory\n");
    exit(1);
}

static float random_float(void) {
    static uint32_t state = 1;
    state = state * 1664525u + 1013904223u;
    return (float)((int32_t)state * 0x1p-31);
}

static float *random_floats(size_t n) {
    float *values = need(me_calloc(n, sizeof *values));
    for (size_t i = 0; i < n; i++)
        values[i] = random_float();
    return values;
}

static me_tensor make_weight(enum ggml_type type, int64_t n_out, int64_t n_in) {
    float *values = random_floats((size_t)(n_out * n_in));
    size_t row_bytes = ggml_row_size(type, n_in);
    void *data = need(me_calloc((size_t)n_out, row_bytes));
    ggml_quantize_chunk(type, values, data, 0, n_out, n_in, NULL);
    me_free(values);
    return (me_tensor){data, type, n_in, n_out, row_bytes};
}

static me_activations make_activations(const float *x, int n, int n_in) {
    int n_blocks = (n_in + ME_BLOCK - 1) / ME_BLOCK;
    size_t blocks = me_act_blocks((size_t)n, (size_t)n_in);
    return (me_activations){.n = n,
                            .n_in = n_in,
                            .n_blocks = n_blocks,
                            .x = x,
                            .q = need(me_calloc(blocks, ME_BLOCK)),
                            .d = need(me_calloc(blocks, sizeof(float))),
                            .s = need(me_calloc(blocks, sizeof(float))),
                            .half_sums = need(me_calloc(blocks, 2 * sizeof(int16_t)))};
}

static void close_ggml(ggml_product *g) {
    me_free(g->plan.work_data);
    ggml_backend_buffer_free(g->weight_buffer);
    ggml_backend_buffer_free(g->value_buffer);
    ggml_free(g->weights);
    ggml_free(g->values);
    *g = (ggml_product){0};
}

static struct ggml_context *tensors_only(void) {
    return need(ggml_init((struct ggml_init_params){
        .mem_size = ggml_graph_overhead() + 8 * ggml_tensor_overhead(), .no_alloc = true}));
}

/* False where a weight in such a buffer cannot be multiplied. */
static bool open_ggml(const product *p, ggml_backend_buffer_type_t type, int threads, ggml_product *g) {
    *g = (ggml_product){.weights = tensors_only(), .values = tensors_only()};
    struct ggml_tensor *w = ggml_new_tensor_2d(g->weights, p->weight.type, p->weight.n_in, p->weight.n_out);
    struct ggml_tensor *x = ggml_new_tensor_2d(g->values, GGML_TYPE_F32, p->weight.n_in, p->act.n);
    struct ggml_tensor *y = ggml_mul_mat(g->values, w, x);
    /* Asked before anything is allocated: a buffer of a type that does not know the weight's fails. */
    g->weight_buffer = ggml_backend_buft_alloc_buffer(type, 0);
    w->buffer = g->weight_buffer;
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    bool able = g->weight_buffer && ggml_backend_dev_supports_op(cpu, y);
    ggml_backend_buffer_free(g->weight_buffer);
    w->buffer = NULL;
    g->weight_buffer = NULL;
    if (!able) {
        close_ggml(g);
        return false;
    }
    g->weight_buffer = need(ggml_backend_alloc_ctx_tensors_from_buft(g->weights, type));
    g->value_buffer =
        need(ggml_backend_alloc_ctx_tensors_from_buft(g->values, ggml_backend_cpu_buffer_type()));
    ggml_backend_tensor_set(w, p->weight.data, 0, ggml_nbytes(w));
    ggml_backend_tensor_set(x, p->x, 0, ggml_nbytes(x));
    g->graph = ggml_new_graph(g->values);
    ggml_build_forward_expand(g->graph, y);
    g->plan = ggml_graph_plan(g->graph, threads, p->ggml_pool);
    g->plan.work_data = need(me_calloc(g->plan.work_size + 1, 1));
    return true;
}

/* The first of the processor's own buffer types (repacking, AMX) that takes the weight. */
static void open_repacked(const product *p, int threads, ggml_product *g) {
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    void *address = ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(cpu),
                                                      "ggml_backend_dev_get_extra_bufts");
    ggml_backend_dev_get_extra_bufts_t extra = NULL;
    memcpy(&extra, &address, sizeof extra);
    for (ggml_backend_buffer_type_t *type = extra ? extra(cpu) : NULL; type && *type; type++)
        if (open_ggml(p, *type, threads, g)) return;
}

static void open_product(product *p, enum ggml_type type, int n_out, int n_in, int n, int threads) {
    *p = (product){.weight = make_weight(type, n_out, n_in), .x = random_floats((size_t)n * (size_t)n_in)};
    p->act = make_activations(p->x, n, n_in);
    p->y = need(me_calloc((size_t)n * (size_t)n_out, sizeof *p->y));
    mobiedit_error err;
    if (me_pool_open(threads, &p->pool, &err) != MOBIEDIT_OK) {
        fprintf(stderr, "bench_matmul: %s\n", err.message);
        exit(1);
    }
    for (int i = 0; i < threads; i++) {
        size_t most = 0;
        for (const me_kernels *const *table = me_kernels_all; *table; table++)
            most = (*table)->scratch_bytes(&p->weight) > most ? (*table)->scratch_bytes(&p->weight) : most;
        p->scratch[i] = need(me_calloc(most, 1));
    }
    struct ggml_threadpool_params params = ggml_threadpool_params_default(threads);
    p->ggml_pool = need(ggml_threadpool_new(&params));
    open_ggml(p, ggml_backend_cpu_buffer_type(), threads, &p->plain);
    open_repacked(p, threads, &p->repacked);
}

static void close_product(product *p) {
    close_ggml(&p->plain);
    close_ggml(&p->repacked);
    ggml_threadpool_free(p->ggml_pool);
    for (int i = 0; i < me_pool_threads(p->pool); i++)
        me_free(p->scratch[i]);
    me_pool_close(p->pool);
    me_free((void *)p->weight.data);
    me_free(p->act.q);
    me_free(p->act.d);
    me_free(p->act.s);
    me_free(p->act.half_sums);
    me_free(p->x);
    me_free(p->y);
}

static void quantize_task(void *context, size_t task, int thread) {
    product *p = context;
    int threads = me_pool_threads(p->pool);
    (void)thread;
    p->table->quantize(&p->act, (int)task * p->act.n / threads, ((int)task + 1) * p->act.n / threads);
}

static void matmul_task(void *context, size_t task, int thread) {
    product *p = context;
    int64_t row0 = (int64_t)task * ROWS_A_TASK, row1 = row0 + ROWS_A_TASK;
    if (row1 > p->weight.n_out) row1 = p->weight.n_out;
    p->table->matmul(&p->weight, &p->act, row0, row1, p->y, (size_t)p->weight.n_out, p->scratch[thread]);
}

static void multiply(product *p, const contender *who) {
    if (who->ggml) {
        ggml_graph_compute(who->ggml->graph, &who->ggml->plan);
        return;
    }
    p->table = who->table;
    if (ggml_is_quantized(p->weight.type))
        me_pool_run(p->pool, (size_t)me_pool_threads(p->pool), quantize_task, p);
    me_pool_run(p->pool, (size_t)((p->weight.n_out + ROWS_A_TASK - 1) / ROWS_A_TASK), matmul_task, p);
}

/* GOPS over at least 10 ms. */
static double speed(product *p, const contender *who) {
    double start = seconds(), now;
    int runs = 0;
    do {
        multiply(p, who);
        runs++;
        now = seconds();
    } while (now - start < .01);
    return 2e-9 * runs * (double)p->weight.n_in * (double)p->weight.n_out * p->act.n / (now - start);
}

/* The tables that run here, without the reference where there are others, then ggml's two ways. */
static int contenders(product *p, contender *list) {
    int n = 0;
    for (const me_kernels *const *table = me_kernels_all; *table && n < MAX_CONTENDERS - 2; table++)
        if ((*table)->supported()) list[n++] = (contender){(*table)->name, *table, NULL};
    if (n > 1) memmove(list, list + 1, (size_t)--n * sizeof *list);
    list[n++] = (contender){"ggml", NULL, p && p->plain.graph ? &p->plain : NULL};
    list[n++] = (contender){"repacked", NULL, p && p->repacked.graph ? &p->repacked : NULL};
    return n;
}

/* Sums of logarithms over the shapes of a type at MANY_COLUMNS columns or more, all threads. */
typedef struct {
    int n;
    double ratio, share;
} means;

static void measure(enum ggml_type type, int n_out, int n_in, int n, int threads, int rounds, means *sum) {
    static double speeds[MAX_CONTENDERS][MAX_ROUNDS], ratios[MAX_ROUNDS], shares[MAX_ROUNDS];
    contender list[MAX_CONTENDERS];
    product p;
    open_product(&p, type, n_out, n_in, n, threads);
    int n_list = contenders(&p, list), ours = n_list - 3;
    for (int i = 0; i < n_list; i++)
        if (list[i].table || list[i].ggml) multiply(&p, &list[i]);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < n_list; i++)
            speeds[i][round] = list[i].table || list[i].ggml ? speed(&p, &list[i]) : 0;
        ratios[round] = speeds[ours][round] / fmax(speeds[ours + 1][round], speeds[ours + 2][round]);
        shares[round] = speeds[ours][round] / roof_gops(p.pool, list[ours].name);
    }
    printf("%-6s %5dx%-5d %4d %2d", ggml_type_name(type), n_out, n_in, n, threads);
    for (int i = 0; i < n_list; i++)
        list[i].table || list[i].ggml ? printf(" %11.1f", median(speeds[i], rounds)) : printf(" %11s", "-");
    double ratio = median(ratios, rounds), share = median(shares, rounds);
    printf(" %6.2f %5.0f%%\n", ratio, 100 * share);
    fflush(stdout);
    if (n >= MANY_COLUMNS) *sum = (means){sum->n + 1, sum->ratio + log(ratio), sum->share + log(share)};
    close_product(&p);
}

static enum ggml_type type_by_name(const char *name) {
    for (int type = 0; type < GGML_TYPE_COUNT; type++)
        if (me_kernels_type_supported((enum ggml_type)type) &&
            !strcmp(ggml_type_name((enum ggml_type)type), name))
            return (enum ggml_type)type;
    return GGML_TYPE_COUNT;
}

enum { MAX_LIST = 16 };

/* "a,b" in place into items; how many. */
static int split(char *text, char **items) {
    int n = 0;
    char *rest = NULL;
    for (char *item = strtok_r(text, ",", &rest); item && n < MAX_LIST; item = strtok_r(NULL, ",", &rest))
        items[n++] = item;
    return n;
}

static int number(const char *text, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end != text && !*end && value >= 1 && value <= most) return (int)value;
    fprintf(stderr, "bench_matmul: %s is not a number from 1 to %d\n%s", text, most, usage);
    exit(2);
}

static void shape(const char *text, int *n_out, int *n_in) {
    if (sscanf(text, "%dx%d", n_out, n_in) == 2 && *n_out > 0 && *n_in > 0 && *n_in % 32 == 0) return;
    fprintf(stderr, "bench_matmul: %s is not ROWSxVALUES, VALUES a multiple of 32\n%s", text, usage);
    exit(2);
}

static void quiet(enum ggml_log_level level, const char *text, void *user) {
    (void)level, (void)text, (void)user;
}

int main(int argc, char **argv) {
    char types[] = "q4_0,q4_1,q5_0,q5_1,q8_0,q2_K,q3_K,q4_K,q5_K,q6_K,iq4_nl,iq4_xs,f16,bf16,f32",
         shapes[] = "576x1536,896x4864";
    char columns[] = "256", threads[] = "1,2";
    char *lists[] = {types, columns, threads, shapes}, *items[4][MAX_LIST];
    int rounds = 15, sizes[4];
    for (int option; (option = getopt(argc, argv, "t:n:j:s:r:")) != -1;) {
        const char *list = strchr("tnjs", option);
        if (option == '?') return fputs(usage, stderr), 2;
        if (list)
            lists[list - strchr("tnjs", 't')] = optarg;
        else
            rounds = number(optarg, MAX_ROUNDS);
    }
    for (int i = 0; i < 4; i++)
        sizes[i] = split(lists[i], items[i]);
    ggml_log_set(quiet, NULL);
    ggml_cpu_init();
    contender list[MAX_CONTENDERS];
    int n_list = contenders(NULL, list);
    printf("type         shape    n  j");
    for (int i = 0; i < n_list; i++)
        printf(" %11s", list[i].name);
    printf("  ratio  roof\n");
    for (int t = 0; t < sizes[0]; t++) {
        enum ggml_type type = type_by_name(items[0][t]);
        if (type == GGML_TYPE_COUNT)
            return fprintf(stderr, "bench_matmul: no type %s\n%s", items[0][t], usage), 2;
        for (int j = 0; j < sizes[2]; j++) {
            int n_threads = number(items[2][j], MAX_THREADS);
            means sum = {0};
            for (int s = 0; s < sizes[3]; s++)
                for (int c = 0; c < sizes[1]; c++) {
                    int n_out, n_in;
                    shape(items[3][s], &n_out, &n_in);
                    if (n_in % ggml_blck_size(type)) continue;
                    measure(type, n_out, n_in, number(items[1][c], 1 << 16), n_threads, rounds, &sum);
                }
            if (sum.n)
                printf(
                    "%-6s geometric mean, n >= %d, %d threads: %.2f of ggml's better, %.0f%% of the roof\n",
                    ggml_type_name(type), MANY_COLUMNS, n_threads, exp(sum.ratio / sum.n),
                    100 * exp(sum.share / sum.n));
        }
    }
    return 0;
}
