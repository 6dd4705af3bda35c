/* Rotary position embedding: tables of angles, as far as positions have been asked for. */
#ifndef ME_NATIVE_ROPE_H
#define ME_NATIVE_ROPE_H

#include "model/model.h"

/* Cosines and sines of one rope definition: [n_positions][dims / 2][2]. */
typedef struct {
    const me_rope *rope;
    int n_positions;
    float *angles;
} me_rope_table;

typedef struct {
    me_rope_table *tables; /* [n]: the model's different ropes */
    int n;
    int *of_layer; /* [n_layer]: index into tables */
} me_ropes;

/* Closed in any case; the model must outlive them. */
mobiedit_status me_ropes_open(const me_model *model, me_ropes *ropes, mobiedit_error *err);
void me_ropes_close(me_ropes *ropes);

/* Makes the tables reach n_positions. */
mobiedit_status me_ropes_reserve(me_ropes *ropes, int n_positions, mobiedit_error *err);

/* Rotates one head of a layer at a position that is reserved. */
void me_rope_head(const me_ropes *ropes, int layer, int position, float *head);

#endif
