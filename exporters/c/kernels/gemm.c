/* Products of two matrices that are both computed. */
#include "kernels.h"

#include <string.h>

/* Columns that are packed at a time. */
#define BLOCK (4 * PANEL)

size_t sp_matmul_scratch(size_t depth)
{
    return depth * BLOCK;
}

void sp_matmul(const struct simd *simd, const float *a, size_t rows, size_t a_stride, const float *b, size_t b_row,
            size_t b_column, size_t depth, size_t columns, float *out, size_t out_stride, float *scratch)
{
    const struct finish none = {NULL, RAMP, 1, NULL};
    for (size_t from = 0; from < columns; from += BLOCK) {
        size_t count = columns - from < BLOCK ? columns - from : BLOCK;
        for (size_t panel = 0; panel < count; panel += PANEL) {
            size_t width = count - panel < PANEL ? count - panel : PANEL;
            float *to = scratch + panel * depth;
            for (size_t k = 0; k < depth; k++, to += PANEL) {
                const float *row = b + k * b_row + (from + panel) * b_column;
                if (b_column == 1 && width == PANEL) {
                    memcpy(to, row, PANEL * sizeof(float));
                    continue;
                }
                for (size_t n = 0; n < width; n++)
                    to[n] = row[n * b_column];
                for (size_t n = width; n < PANEL; n++)
                    to[n] = 0;
            }
        }
        simd->gemm(a, rows, a_stride, scratch, depth, count, &none, out + from, out_stride);
    }
}
