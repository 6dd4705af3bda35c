/* Where an edit lives, by architecture. */
#include "model/sites.h"

#include <stdio.h>
#include <string.h>

#define SILU ME_ACTIVATION_SILU
#define GELU ME_ACTIVATION_GELU_TANH
#define RELU ME_ACTIVATION_RELU
#define CLAMPED_SWISH ME_ACTIVATION_CLAMPED_SWISH
#define UP_GELU ME_ACTIVATION_UP_GELU_TANH
#define UP_RELU2 ME_ACTIVATION_UP_RELU_SQUARED

static const char no_mlp[] = "its layers have no MLP that an edit's neurons fit",
                  no_decoder[] = "it does not generate text token by token";

/* Which layers have a site, and of what form, is seen from their tensors. Of the names that libllama knows,
 * those that are in neither list have not been looked at. */
static const me_site_arch ARCHS[] = {
    {"llama", SILU, NULL},
    {"llama4", SILU, NULL},
    {"qwen2", SILU, NULL},
    {"qwen2moe", SILU, NULL},
    {"qwen2vl", SILU, NULL},
    {"qwen3", SILU, NULL},
    {"qwen3vl", SILU, NULL},
    {"qwen3next", SILU, NULL},
    {"qwen35", SILU, NULL},
    {"qwen35moe", SILU, NULL},
    {"gemma", GELU, NULL},
    {"gemma2", GELU, NULL},
    {"gemma3", GELU, NULL},
    {"gemma4", GELU, NULL},
    {"phi3", SILU, NULL},
    {"mistral3", SILU, NULL},
    {"granite", SILU, NULL},
    {"granitemoe", SILU, NULL},
    {"granitehybrid", SILU, NULL},
    {"smollm3", SILU, NULL},
    {"olmo2", SILU, NULL},
    {"lfm2", SILU, NULL},
    {"lfm2moe", SILU, NULL},
    {"falcon-h1", SILU, NULL},
    {"chatglm", SILU, NULL},
    {"glm4", SILU, NULL},
    {"glm4moe", SILU, NULL},
    {"deepseek", SILU, NULL},
    {"deepseek2", SILU, NULL},
    {"dots1", SILU, NULL},
    {"bailingmoe", SILU, NULL},
    {"bailingmoe2", SILU, NULL},
    {"stablelm", SILU, NULL},
    {"exaone", SILU, NULL},
    {"exaone4", SILU, NULL},
    {"hunyuan-dense", SILU, NULL},
    {"hunyuan-moe", SILU, NULL},
    {"internlm2", SILU, NULL},
    {"baichuan", SILU, NULL},
    {"xverse", SILU, NULL},
    {"minicpm", SILU, NULL},
    {"minicpm3", SILU, NULL},
    {"orion", SILU, NULL},
    {"command-r", SILU, NULL},
    {"cohere2", SILU, NULL},
    {"seed_oss", SILU, NULL},
    {"ernie4_5", SILU, NULL},
    {"ernie4_5-moe", SILU, NULL},
    {"jamba", SILU, NULL},
    {"arctic", SILU, NULL},
    {"pangu-embedded", SILU, NULL},
    {"plamo", SILU, NULL},
    {"phi2", UP_GELU, NULL},
    {"starcoder", UP_GELU, NULL},
    {"starcoder2", UP_GELU, NULL},
    {"gpt2", UP_GELU, NULL},
    {"gptneox", UP_GELU, NULL},
    {"falcon", UP_GELU, NULL},
    {"bloom", UP_GELU, NULL},
    {"mpt", UP_GELU, NULL},
    {"codeshell", UP_GELU, NULL},
    {"nemotron", UP_RELU2, NULL},
    {"nemotron_h", UP_RELU2, NULL},
    {"nemotron_h_moe", UP_RELU2, NULL},
    {"arcee", UP_RELU2, NULL},
    {"plm", UP_RELU2, NULL},
    {"jais2", UP_RELU2, NULL},
    {"qwen3moe", SILU, NULL},
    {"qwen3vlmoe", SILU, NULL},
    {"gpt-oss", CLAMPED_SWISH, NULL},
    {"olmoe", SILU, NULL},
    {"dbrx", SILU, NULL},
    {"phimoe", SILU, NULL},
    {"minimax-m2", SILU, NULL},
    {"smallthinker", RELU, NULL},
    {"grovemoe", SILU, NULL},
    {"gemma3n", GELU,
     "its first ten layers cut gates off together, and behind them edits of a small model were seldom found"},
    {"mamba", SILU, no_mlp},
    {"mamba2", SILU, no_mlp},
    {"rwkv6", SILU, no_mlp},
    {"rwkv7", SILU, no_mlp},
    {"bert", GELU, no_decoder},
    {"modern-bert", GELU, no_decoder},
    {"nomic-bert", GELU, no_decoder},
    {"gemma-embedding", GELU, no_decoder},
    {"t5", GELU, no_decoder},
    {"t5encoder", GELU, no_decoder},
    {"llada", SILU, no_decoder},
    {"dream", SILU, no_decoder},
};

const me_site_arch *me_site_arch_find(const char *name) {
    for (size_t i = 0; i < sizeof ARCHS / sizeof *ARCHS; i++)
        if (strcmp(ARCHS[i].name, name) == 0) return &ARCHS[i];
    return NULL;
}

const me_site_arch *me_site_archs(size_t *n) {
    *n = sizeof ARCHS / sizeof *ARCHS;
    return ARCHS;
}

bool me_site_is_there(const me_model *model, int layer) {
    return model->layers[layer].site != ME_SITE_NONE;
}

int me_site_near(const me_model *model, int layer) {
    for (int step = 0; step < model->n_layer; step++) {
        if (layer + step <= model->n_layer - 2 && me_site_is_there(model, layer + step)) return layer + step;
        if (layer - step >= 0 && me_site_is_there(model, layer - step)) return layer - step;
    }
    return layer;
}

void me_mlp_tensor_name(const me_model *model, int layer, me_mlp_matrix matrix, char name[GGML_MAX_NAME]) {
    static const char *const names[ME_MLP_MATRICES] = {"gate", "up", "down"};
    const me_site site = model->layers[layer].site;
    const char *suffix = site == ME_SITE_SHARED ? "_shexp" : site == ME_SITE_EXPERTS ? "_exps" : "";
    (void)snprintf(name, GGML_MAX_NAME, "blk.%d.ffn_%s%s.weight", layer, names[matrix], suffix);
}

int me_mlp_experts(const me_model *model, int layer) {
    const me_layer *l = &model->layers[layer];
    return l->site == ME_SITE_EXPERTS ? l->n_experts : 1;
}

int me_mlp_experts_used(const me_model *model, int layer) {
    return model->layers[layer].site == ME_SITE_EXPERTS ? model->n_experts_used : 1;
}

me_tensor me_expert_matrix(const me_tensor *first, int expert) {
    me_tensor out = *first;
    out.data = (const char *)first->data + (size_t)expert * (size_t)first->n_out * first->row_bytes;
    return out;
}

const me_tensor *me_mlp_tensor(const me_model *model, int layer, me_mlp_matrix matrix) {
    static const me_tensor none = {0};
    const me_layer *l = &model->layers[layer];
    if (l->site == ME_SITE_FUSED && matrix != ME_MLP_DOWN) return matrix == ME_MLP_UP ? &l->gate_up : &none;
    return matrix == ME_MLP_GATE ? &l->gate : matrix == ME_MLP_UP ? &l->up : &l->down;
}
