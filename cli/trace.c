/* Draws an edit's loss against its prompt evaluations as SVG. */
#include "trace.h"

#include "page.h"

#include <math.h>
#include <stdio.h>

/* Pixels; the plot's area is inside the margins. */
enum { WIDTH = 640, HEIGHT = 360, LEFT = 64, RIGHT = 24, TOP = 40, BOTTOM = 52, TICKS = 6 };

typedef struct {
    FILE *out;
    double x_max, y_max; /* ends of the axes, which begin at 0 */
} plot;

static double to_x(const plot *p, double evaluations) {
    return LEFT + (WIDTH - LEFT - RIGHT) * evaluations / p->x_max;
}

static double to_y(const plot *p, double loss) {
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * loss / p->y_max;
}

static void put_axes(const plot *p) {
    const double bottom = HEIGHT - BOTTOM, x_step = page_tick_step(p->x_max, TICKS),
                 y_step = page_tick_step(p->y_max, TICKS);
    (void)fputs("<g stroke=\"#ddd\">\n", p->out);
    for (int i = 0; i * y_step <= p->y_max * 1.0001; i++)
        (void)fprintf(p->out, "<path d=\"M%d %.1fH%d\"/>\n", LEFT, to_y(p, i * y_step), WIDTH - RIGHT);
    (void)fputs("</g>\n<g fill=\"#444\" text-anchor=\"end\">\n", p->out);
    for (int i = 0; i * y_step <= p->y_max * 1.0001; i++)
        (void)fprintf(p->out, "<text x=\"%d\" y=\"%.1f\">%g</text>\n", LEFT - 8, to_y(p, i * y_step) + 4,
                      i * y_step);
    (void)fputs("</g>\n<g fill=\"#444\" text-anchor=\"middle\">\n", p->out);
    for (int i = 0; i * x_step <= p->x_max * 1.0001; i++)
        (void)fprintf(p->out, "<text x=\"%.1f\" y=\"%.1f\">%g</text>\n", to_x(p, i * x_step), bottom + 18,
                      i * x_step);
    (void)fprintf(p->out, "<text x=\"%d\" y=\"%d\">prompt evaluations</text>\n", (LEFT + WIDTH - RIGHT) / 2,
                  HEIGHT - 12);
    (void)fprintf(p->out,
                  "<text transform=\"translate(18 %.1f) rotate(-90)\">loss (nats a token)</text>\n</g>\n",
                  (TOP + bottom) / 2);
}

static void put_curve(const plot *p, const mobiedit_edit_result *r) {
    (void)fputs("<polyline fill=\"none\" stroke=\"#1565c0\" stroke-width=\"2\" points=\"", p->out);
    for (size_t i = 0; i < r->n_trace; i++)
        if (isfinite(r->trace[i].loss))
            (void)fprintf(p->out, "%.1f,%.1f ", to_x(p, (double)r->trace[i].evaluations),
                          to_y(p, (double)r->trace[i].loss));
    (void)fputs("\"/>\n<g fill=\"#1565c0\">\n", p->out);
    for (size_t i = 0; i < r->n_trace; i++)
        if (isfinite(r->trace[i].loss))
            (void)fprintf(p->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n",
                          to_x(p, (double)r->trace[i].evaluations), to_y(p, (double)r->trace[i].loss));
    (void)fputs("</g>\n", p->out);
}

typedef struct {
    const char *title;
    const mobiedit_edit_result *result;
} drawing;

static void put_svg(FILE *out, const void *what) {
    const drawing *d = what;
    const mobiedit_edit_result *r = d->result;
    plot p = {.out = out, .x_max = 1, .y_max = 1e-3};
    for (size_t i = 0; i < r->n_trace; i++) {
        const double x = (double)r->trace[i].evaluations, y = (double)r->trace[i].loss;
        if (x > p.x_max) p.x_max = x;
        if (isfinite(y) && y > p.y_max) p.y_max = y;
    }
    p.y_max *= 1.05;
    (void)fprintf(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
        "font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"24\" "
        "font-size=\"14\">",
        WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    page_text(out, d->title);
    (void)fputs("</text>\n", out);
    put_axes(&p);
    put_curve(&p, r);
    (void)fputs("</svg>\n", out);
}

mobiedit_status trace_write(const char *path, const char *title, const mobiedit_edit_result *result,
                            mobiedit_error *err) {
    const drawing what = {.title = title, .result = result};
    return page_write(path, put_svg, &what, err);
}
