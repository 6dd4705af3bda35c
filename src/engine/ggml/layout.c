/* Lays the rows of a suffix graph out: groups of items, positions, masks, rows to read. */
#include "engine/ggml/ggml_engine.h"

#include "base/memory.h"
#include "engine/sequences.h"

#include <math.h>

int me_edited_column(const me_ggml_span *span, int i) {
    return me_edit_at(span->edit_pos, span->more_pos, i) - span->start;
}

int me_group_items(const me_group *group) {
    return group->n_sources * group->n_repeats;
}

void me_layout_close(me_layout *layout) {
    me_free(layout->groups);
    me_free(layout->sources);
    me_free(layout->first_row);
    *layout = (me_layout){0};
}

/* Whether no span before i has as many columns. */
static bool leads_group(const me_layout *layout, int i) {
    for (int j = 0; j < i; j++)
        if (layout->spans[j].n_columns == layout->spans[i].n_columns) return false;
    return true;
}

/* Groups of all spans, each repeated n_repeats times from repeat `first` on. */
static void add_groups(me_layout *layout, int first, int n_repeats, int *n_sources) {
    for (int lead = 0; lead < layout->n_spans; lead++) {
        if (!leads_group(layout, lead)) continue;
        int n_columns = layout->spans[lead].n_columns;
        me_group *group = &layout->groups[layout->n_groups++];
        *group = (me_group){.n_columns = n_columns,
                            .n_repeats = n_repeats,
                            .first_row = layout->n_rows,
                            .first_source = *n_sources};
        for (int i = lead; i < layout->n_spans; i++) {
            if (layout->spans[i].n_columns != n_columns) continue;
            layout->sources[(*n_sources)++] = i;
            group->n_sources++;
            for (int r = first; r < first + n_repeats; r++, layout->n_rows += n_columns)
                layout->first_row[(size_t)r * (size_t)layout->n_spans + (size_t)i] = layout->n_rows;
        }
    }
}

mobiedit_status me_layout_open(const me_ggml_span *spans, int n_spans, int n_base, int n_repeats, int past,
                               me_layout *out, mobiedit_error *err) {
    size_t n = (size_t)n_spans, times = (size_t)(n_base + n_repeats);
    me_layout layout = {
        .spans = spans, .n_spans = n_spans, .n_base = n_base, .n_repeats = n_repeats, .past = past};
    layout.groups = me_calloc((size_t)(n_base + 1) * n, sizeof *layout.groups);
    layout.sources = me_calloc((size_t)(n_base + 1) * n, sizeof *layout.sources);
    layout.first_row = me_calloc(times * n, sizeof *layout.first_row);
    if (!layout.groups || !layout.sources || !layout.first_row) {
        me_layout_close(&layout);
        return me_fail_memory(err, "a batch of tokens");
    }
    int n_sources = 0;
    if (n_base) add_groups(&layout, 0, 1, &n_sources);
    layout.n_base_rows = layout.n_rows;
    add_groups(&layout, n_base, n_repeats, &n_sources);
    for (int i = 0; i < n_spans; i++) {
        layout.n_base_reads += n_base * spans[i].n_read;
        layout.n_reads += (n_base + n_repeats) * spans[i].n_read;
        layout.n_edits += 1 + spans[i].n_more;
    }
    *out = layout;
    return MOBIEDIT_OK;
}

static int first_row(const me_layout *layout, int repeat, int span) {
    return layout->first_row[(size_t)repeat * (size_t)layout->n_spans + (size_t)span];
}

/* out[row - rows of the repeats left out] = start of the row's span + its column */
static void fill_rows(const me_layout *layout, int first_repeat, int (*start)(const me_layout *, int),
                      int32_t *out) {
    int left_out = first_repeat ? layout->n_base_rows : 0;
    for (int r = first_repeat; r < layout->n_base + layout->n_repeats; r++)
        for (int i = 0; i < layout->n_spans; i++)
            for (int c = 0; c < layout->spans[i].n_columns; c++)
                out[first_row(layout, r, i) + c - left_out] = start(layout, i) + c;
}

static int start_of(const me_layout *layout, int span) {
    return layout->spans[span].start;
}

static int base_row_of(const me_layout *layout, int span) {
    return first_row(layout, 0, span);
}

void me_layout_positions(const me_layout *layout, int32_t *out) {
    fill_rows(layout, 0, start_of, out);
}

void me_layout_base_rows(const me_layout *layout, int32_t *out) {
    fill_rows(layout, layout->n_base, base_row_of, out);
}

void me_layout_read_rows(const me_layout *layout, int32_t *out) {
    for (int r = 0; r < layout->n_base + layout->n_repeats; r++)
        for (int i = 0; i < layout->n_spans; i++) {
            const me_ggml_span *span = &layout->spans[i];
            for (int t = 0; t < span->n_read; t++)
                *out++ = first_row(layout, r, i) + span->read_pos + t - span->start;
        }
}

void me_layout_base_reads(const me_layout *layout, int32_t *out) {
    for (int i = 0; i < layout->n_reads - layout->n_base_reads; i++)
        out[i] = i % layout->n_base_reads;
}

void me_layout_edit_rows(const me_layout *layout, int32_t *out) {
    for (int i = 0; i < layout->n_spans; i++)
        for (int j = 0; j <= layout->spans[i].n_more; j++)
            *out++ = first_row(layout, layout->n_base, i) + me_edited_column(&layout->spans[i], j);
}

/* One column's row of a mask: positions (last - window, last] of those
 * that are known, and of its own item's. */
static void mask_row(const me_ggml_span *span, int past, int column, int window, float *out) {
    int last = span->start + column, first = window > 0 && last >= window ? last - window + 1 : 0;
    for (int i = 0; i < past; i++)
        out[i] = i < span->start && i >= first ? 0.0f : -INFINITY;
    for (int c = 0; c < span->n_columns; c++)
        out[past + c] = c <= column && span->start + c >= first ? 0.0f : -INFINITY;
}

void me_layout_mask(const me_layout *layout, const me_group *group, int window, float *out) {
    for (int item = 0; item < me_group_items(group); item++) {
        int source = layout->sources[group->first_source + item / group->n_repeats];
        for (int c = 0; c < group->n_columns; c++, out += layout->past + group->n_columns)
            mask_row(&layout->spans[source], layout->past, c, window, out);
    }
}

void me_layout_select(const me_layout *layout, const me_group *group, float *out) {
    for (int item = 0; item < me_group_items(group); item++, out += group->n_columns) {
        const me_ggml_span *span =
            &layout->spans[layout->sources[group->first_source + item / group->n_repeats]];
        for (int c = 0; c < group->n_columns; c++)
            out[c] = c == span->edit_pos - span->start ? 1.0f : 0.0f;
    }
}
