/* launch/show/cache_pictures.c - see cache_pictures.h. */
#include "launch/show/cache_pictures.h"

#include <stdlib.h>

#include "launch/output/picture.h"

enum { LABELS_MAX = 700 }; /* tokens whose text fits beside each other */
enum { WIDTH_MIN = 760 };  /* of the title */

/* A text in a line of data: gnuplot reads \ooo as a byte there, and nothing else is written.
 * Control characters are seen as '?', but for the newline. */
static void put_text(FILE *plot, const char *text, size_t bytes)
{
    static const char NEWLINE[] = "\\342\\206\\265"; /* the sign of the return key, in octal */
    fputc('"', plot);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n')
            fputs(NEWLINE, plot);
        else
            fprintf(plot, "\\%03o", c < ' ' || c == 0x7f ? '?' : c);
    }
    fputc('"', plot);
}

/* The tokens' texts below the last panel, as data: $labels, column 2. */
static sl_status put_labels(FILE *plot, const sl_prompt_trace *trace)
{
    char *room = malloc(sl_tokenizer_decode_bytes_max(trace->setup.tokenizer) + 1);
    if (!room) return SL_ERR_MEMORY;
    fputs("$labels << EOD\n", plot);
    for (size_t i = 0; i < trace->tokens.n; i++) {
        sl_decode_state state = {0};
        fprintf(plot, "%zu ", i);
        put_text(plot, room,
                 sl_tokenizer_decode(trace->setup.tokenizer, &state, trace->tokens.ids[i], room));
        fputc('\n', plot);
    }
    fputs("EOD\nset xtics rotate by 90 right scale 0\n", plot);
    free(room);
    return SL_OK;
}

/* ---- who was kept ---- */

static void put_fates(FILE *plot, const sl_prompt_trace *trace, uint32_t head)
{
    size_t n = trace->tokens.n;
    fputs("$fates << EOD\n", plot);
    for (uint32_t layer = 0; layer < trace->setup.shape.n_layers; layer++) {
        const uint8_t *fates = trace->fates +
                               ((size_t)layer * trace->setup.shape.n_kv_heads + head) * n;
        for (size_t t = 0; t < n; t++) fprintf(plot, "%d ", fates[t]);
        fputc('\n', plot);
    }
    fputs("EOD\n", plot);
}

sl_status sl_picture_fates(const sl_prompt_trace *trace, const char *path)
{
    size_t n = trace->tokens.n;
    uint32_t heads = trace->setup.shape.n_kv_heads, layers = trace->setup.shape.n_layers;
    int cell = n <= LABELS_MAX ? 12 : 4, panel = (int)layers * 8 + 40, text = 90;
    bool labels = n <= LABELS_MAX;
    sl_picture picture;
    int width = 120 + (int)n * cell, height = 40 + panel * (int)heads + text;
    if (width < WIDTH_MIN) width = WIDTH_MIN;
    sl_status status = sl_picture_begin(path, width, height, &picture);
    if (status != SL_OK) return status;
    FILE *plot = picture.script;
    double unit = 1.0 / height;
    const sl_model_shape *shape = &trace->setup.shape;
    bool slides = sl_full_heads(shape, 0, shape->n_layers) < shape->n_layers * shape->n_kv_heads;
    fprintf(plot,
            "set multiplot title \"policy %s, sinks %u, window %u: %.1f%% of eligible tokens kept; "
            "black: evicted, white: kept, grey: sinks, window%s\"\n"
            "set palette defined (0 '#000000', 1 '#ffffff', 2 '#d5dbe3')\nset cbrange [0:2]\n"
            "set xrange [-0.5:%zu-0.5]\nset yrange [-0.5:%u-0.5]\nset ytics 5\nunset xtics\n"
            "set lmargin at screen %g\nset rmargin at screen %g\n",
            sl_policy_name(trace->setup.policy.kind), trace->setup.policy.sinks,
            trace->setup.policy.window, 100 * sl_prompt_trace_retention(trace),
            slides ? ", sliding layers" : "", n, layers, 70.0 / width, 1 - 20.0 / width);
    for (uint32_t head = 0; head < heads; head++) {
        bool below = labels && head + 1 == heads && status == SL_OK;
        double top = 1 - (40.0 + head * panel) * unit;
        put_fates(plot, trace, head);
        if (below) status = put_labels(plot, trace);
        fprintf(plot,
                "set tmargin at screen %g\nset bmargin at screen %g\n"
                "set ylabel 'layer, KV head %u'\nplot $fates matrix with image%s\n",
                top, top - layers * 8 * unit, head,
                below && status == SL_OK ? ", $labels using 1:(-1):xticlabels(2) with dots" : "");
    }
    sl_status ended = sl_picture_end(&picture, path);
    return status == SL_OK ? ended : status;
}

/* ---- what is looked at ---- */

static void put_map(FILE *plot, const float *map, size_t n, const char *kind, uint32_t head,
                    uint32_t layer)
{
    fputs("$map << EOD\n", plot);
    for (size_t t = 0; t < n; t++) {
        for (size_t j = 0; j < n; j++) fprintf(plot, "%.3g ", (double)map[t * n + j]);
        fputc('\n', plot);
    }
    fprintf(plot,
            "EOD\nset title 'layer %u, %s %u'\nplot $map using 1:2:(sqrt($3)) matrix with image\n",
            layer, kind, head);
}

sl_status sl_picture_maps(const sl_prompt_trace *trace, const sl_counts *layers, const char *path)
{
    size_t n = trace->tokens.n, map = n * n;
    uint32_t heads = trace->setup.shape.n_heads, columns = heads + trace->gate_heads;
    sl_picture picture;
    sl_status status = sl_picture_begin(path, (int)columns * 190, 40 + (int)layers->n * 210,
                                        &picture);
    if (status != SL_OK) return status;
    FILE *plot = picture.script;
    fprintf(
        plot,
        "set multiplot layout %u,%u title 'queries downwards, keys to the right; darker is more "
        "(square root of the weight)'\nset palette defined (0 '#ffffff', 1 '#08306b')\n"
        "set cbrange [0:1]\nset xrange [-0.5:%zu-0.5]\nset yrange [%zu-0.5:-0.5]\n"
        "unset xtics\nunset ytics\nset size ratio 1\n",
        layers->n, columns, n, n);
    for (uint32_t i = 0; i < layers->n; i++) {
        for (uint32_t head = 0; head < heads; head++)
            put_map(plot, trace->attention + (i * heads + head) * map, n, "head", head,
                    layers->items[i]);
        for (uint32_t head = 0; head < trace->gate_heads; head++)
            put_map(plot, trace->gate + (i * trace->gate_heads + head) * map, n, "gate head", head,
                    layers->items[i]);
    }
    return sl_picture_end(&picture, path);
}
