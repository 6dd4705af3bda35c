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
                  no_decoder[] = "it does not generate text token by token",
                  drafter[] = "it drafts for another model and does not run by itself",
                  repeated[] = "its layers run several times a token, and an edit would be added each time",
                  no_adapter[] = "libllama does not apply an adapter to its MLPs",
                  cut_off[] = "libllama cuts off what its gate and up projections give",
                  untested[] = "no edit of a small model of it has been verified",
                  no_last_norm[] = "the norm before its output matrix has no weights to be found by";

/* Which layers have a site, and of what form, is seen from their tensors. Each name that
 * libllama knows is here, but for gptj, which it does not run. */
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
    {"spark2_5", GELU, NULL},
    {"muse-glimmer", SILU, NULL},
    {"phi3", SILU, NULL},
    {"mistral3", SILU, NULL},
    {"mistral4", SILU, NULL},
    {"granite", SILU, NULL},
    {"granitemoe", SILU, NULL},
    {"granitehybrid", SILU, NULL},
    {"granite_swa", SILU, NULL},
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
    {"deepseek2-ocr", SILU, NULL},
    {"deepseek32", SILU, NULL},
    {"glm-dsa", SILU, NULL},
    {"kimi-linear", SILU, NULL},
    {"bailingmoe3", SILU, NULL},
    {"dots1", SILU, NULL},
    {"afmoe", SILU, NULL},
    {"laguna", SILU, NULL},
    {"bailingmoe", SILU, NULL},
    {"bailingmoe2", SILU, NULL},
    {"stablelm", SILU, NULL},
    {"exaone", SILU, NULL},
    {"exaone4", SILU, NULL},
    {"exaone-moe", SILU, NULL},
    {"hunyuan-dense", SILU, NULL},
    {"hunyuan-moe", SILU, NULL},
    {"hunyuan_vl", SILU, NULL},
    {"hy_v3", SILU, NULL},
    {"internlm2", SILU, NULL},
    {"baichuan", SILU, NULL},
    {"xverse", SILU, NULL},
    {"minicpm", SILU, NULL},
    {"minicpm3", SILU, NULL},
    {"orion", SILU, NULL},
    {"command-r", SILU, NULL},
    {"cohere2", SILU, NULL},
    {"cohere2moe", SILU, NULL},
    {"seed_oss", SILU, NULL},
    {"ernie4_5", SILU, NULL},
    {"paddleocr", SILU, NULL},
    {"ernie4_5-moe", SILU, NULL},
    {"jamba", SILU, NULL},
    {"arctic", SILU, NULL},
    {"pangu-embedded", SILU, NULL},
    {"plamo", SILU, NULL},
    {"plamo3", SILU, NULL},
    {"qwen", SILU, NULL},
    {"deci", SILU, NULL},
    {"openelm", SILU, NULL},
    {"maincoder", SILU, NULL},
    {"jais", SILU, NULL},
    {"step35", SILU, NULL},
    {"mimo2", SILU, NULL},
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
    {"mellum", SILU, NULL},
    {"minimax-01", SILU, NULL},
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
    {"llada-moe", SILU, no_decoder},
    {"rnd1", SILU, no_decoder},
    {"eurobert", SILU, no_decoder},
    {"neo-bert", SILU, no_decoder},
    {"jina-bert-v2", GELU, no_decoder},
    {"jina-bert-v3", GELU, no_decoder},
    {"nomic-bert-moe", GELU, no_decoder},
    {"llama-embed", SILU, no_decoder},
    {"clip", GELU, no_decoder},
    {"wavtokenizer-dec", GELU, no_decoder},
    {"pockettts", GELU, no_decoder},
    {"qwen3tts", SILU, no_decoder},
    {"eagle3", SILU, drafter},
    {"dflash", SILU, drafter},
    {"gemma4-assistant", GELU, drafter},
    {"nanbeige", SILU, repeated},
    {"hrm_text", SILU, repeated},
    {"graniteswitch", SILU, no_adapter},
    {"kimi-k3", SILU, no_adapter},
    {"olmo", SILU, no_last_norm},
    {"talkie", SILU, no_last_norm},
    {"plamo2", SILU, "libllama cannot run several sequences of it in a batch"},
    {"maple", SILU, cut_off},
    {"arwkv7", SILU, untested},
    {"rwkv6qwen2", SILU, untested},
    {"cogvlm", SILU, untested},
    {"grok", GELU, untested},
    {"refact", SILU, untested},
    {"chameleon", SILU, untested},
    {"dots3note", SILU, untested},
    {"minimax-m3", SILU, untested},
    {"deepseek4", SILU, untested},
    {"glm5-next", SILU, untested},
    {"hy_v4", SILU, untested},
    {"qwen4exp", SILU, untested},
    {"bitnet", SILU, "a norm before its down projection makes every neuron's share depend on the others"},
    {"apertus", SILU, "its activation, xIELU, has other parameters in each layer"},
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
