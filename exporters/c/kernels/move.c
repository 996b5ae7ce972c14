/* Arrays in another order. */
#include "kernels.h"

#include <string.h>

#define BLOCK 16

void sp_transpose(const float *x, size_t rows, size_t columns, size_t x_stride, float *out, size_t out_stride)
{
    for (size_t row = 0; row < rows; row += BLOCK)
        for (size_t column = 0; column < columns; column += BLOCK) {
            const size_t bottom = rows - row < BLOCK ? rows : row + BLOCK;
            const size_t right = columns - column < BLOCK ? columns : column + BLOCK;
            for (size_t c = column; c < right; c++)
                for (size_t r = row; r < bottom; r++)
                    out[c * out_stride + r] = x[r * x_stride + c];
        }
}

void sp_reflect(float *x, size_t outer, size_t before, size_t count, size_t after, size_t inner)
{
    for (size_t o = 0; o < outer; o++, x += (before + count + after) * inner) {
        float *first = x + before * inner, *last = first + (count - 1) * inner;
        for (size_t i = 1; i <= before; i++)
            memcpy(first - i * inner, first + i * inner, inner * sizeof(float));
        for (size_t i = 1; i <= after; i++)
            memcpy(last + i * inner, last - i * inner, inner * sizeof(float));
    }
}

void sp_repeat(float *x, size_t outer, size_t before, size_t count, size_t after, size_t inner)
{
    for (size_t o = 0; o < outer; o++, x += (before + count + after) * inner) {
        float *first = x + before * inner, *last = first + (count - 1) * inner;
        for (size_t i = 1; i <= before; i++)
            memcpy(first - i * inner, first, inner * sizeof(float));
        for (size_t i = 1; i <= after; i++)
            memcpy(last + i * inner, last, inner * sizeof(float));
    }
}

void sp_surround(float *x, size_t outer, size_t before, size_t count, size_t after, size_t inner, float value)
{
    for (size_t o = 0; o < outer; o++) {
        for (const float *end = x + before * inner; x < end; x++)
            *x = value;
        x += count * inner;
        for (const float *end = x + after * inner; x < end; x++)
            *x = value;
    }
}
