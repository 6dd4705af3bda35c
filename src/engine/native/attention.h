/* Attention of the batch's rows. */
#ifndef ME_NATIVE_ATTENTION_H
#define ME_NATIVE_ATTENTION_H

#include "engine/native/batch.h"

/* Attention of rows [first, last) at layer `index` into h. focus (may be NULL): [n_reads][n_head], filled
 * with the weight that read positions pay to their span's edit_pos. */
void me_attention(me_native *engine, int index, float *focus, int first, int last, float *scores);

#endif
