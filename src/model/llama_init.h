/* ggml and libllama as a whole. */
#ifndef ME_MODEL_LLAMA_INIT_H
#define ME_MODEL_LLAMA_INIT_H

/* Call before the first use of ggml or libllama; calls after the first do nothing. Both write to a log that
 * is theirs for the whole process, to stderr by default: it is silenced. */
void me_llama_init(void);

/* The model as it lies in the file: mapped, on the processor, its weights not copied. Freed with
 * llama_model_free; NULL: libllama cannot load it. */
struct llama_model *me_llama_load(const char *path);

#endif
