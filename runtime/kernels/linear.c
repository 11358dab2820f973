/* runtime/kernels/linear.c - rows are quantized in blocks, columns of all maps computed in blocks: who
 * computes one never changes its bits (contract 1). */
#include "runtime/kernels/linear.h"

enum { ROW_BLOCK = 8, COLUMN_BLOCK = 32, COLUMN_BLOCK_LEAST = 16 };

static size_t blocks_of(const sl_linear *map, size_t width)
{
    return (map->matrix->n_out + width - 1) / width;
}

static size_t blocks_of_all(const sl_linear *maps, size_t n_maps, size_t width)
{
    size_t n = 0;
    for (size_t m = 0; m < n_maps; m++) n += blocks_of(&maps[m], width);
    return n;
}

static void compute_block(const sl_kernels *kernels, const sl_activations *a, const sl_linear *map,
                          size_t column, size_t width)
{
    const sl_matrix *w = map->matrix;
    size_t end = column + width < w->n_out ? column + width : w->n_out;
    kernels->matmul(w, a, column, end, map->out, w->n_out);
    for (size_t row = 0; map->bias && row < a->n_rows; row++)
        kernels->add(map->bias + column, end - column, map->out + row * w->n_out + column);
}

void sl_linear_run(const sl_kernels *kernels, int threads, const sl_activations *a,
                   sl_linear_input input, const sl_linear *maps, size_t n_maps)
{
    size_t width = COLUMN_BLOCK;
    if (blocks_of_all(maps, n_maps, width) < 4 * (size_t)threads) width = COLUMN_BLOCK_LEAST;
    size_t n_blocks = blocks_of_all(maps, n_maps, width);
    size_t rows_to_quantize = input == SL_LINEAR_FRESH ? a->n_rows : 0;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (size_t row = 0; row < rows_to_quantize; row += ROW_BLOCK) {
            size_t end = row + ROW_BLOCK < a->n_rows ? row + ROW_BLOCK : a->n_rows;
            kernels->quantize(a, row, end);
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < n_blocks; i++) {
            const sl_linear *map = maps;
            size_t block = i;
            for (; block >= blocks_of(map, width); map++) block -= blocks_of(map, width);
            compute_block(kernels, a, map, block * width, width);
        }
    }
}
