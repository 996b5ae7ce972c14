/* Sums and maxima over one axis. */
#include "kernels.h"

/* A sum of thousands in float32 loses digits; of so many it hardly does. */
#define PART 64
#define WIDTH 16

/* A loop of a number that is known becomes vectors. */
static void add(const float *x, size_t width, float part[WIDTH])
{
    if (width == WIDTH)
        for (size_t i = 0; i < WIDTH; i++)
            part[i] += x[i];
    else
        for (size_t i = 0; i < width; i++)
            part[i] += x[i];
}

void sp_reduce_sum(const float *x, size_t outer, size_t count, size_t inner, float scale, float *out)
{
    for (size_t o = 0; o < outer; o++, x += count * inner)
        for (size_t from = 0; from < inner; from += WIDTH) {
            const size_t width = inner - from < WIDTH ? inner - from : WIDTH;
            double total[WIDTH] = {0};
            for (size_t start = 0; start < count; start += PART) {
                const size_t end = count - start < PART ? count : start + PART;
                float part[WIDTH] = {0};
                for (size_t n = start; n < end; n++)
                    add(x + n * inner + from, width, part);
                for (size_t i = 0; i < width; i++)
                    total[i] += part[i];
            }
            for (size_t i = 0; i < width; i++)
                out[o * inner + from + i] = (float)total[i] * scale;
        }
}

void sp_reduce_max(const float *x, size_t outer, size_t count, size_t inner, float *out)
{
    for (size_t o = 0; o < outer; o++, x += count * inner, out += inner) {
        for (size_t i = 0; i < inner; i++)
            out[i] = x[i];
        for (size_t n = 1; n < count; n++)
            for (size_t i = 0; i < inner; i++)
                if (x[n * inner + i] > out[i])
                    out[i] = x[n * inner + i];
    }
}
