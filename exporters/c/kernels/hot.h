/* The matrix product and the depthwise convolution for one set of vector instructions. The file that includes this has
 * defined, first:
 *
 *   NAME     what the set is called
 *   TARGET   the attribute by which the compiler uses it in a function; may be empty
 *   LANES    floats in a vector: 1, 4, 8 or 16
 *   TALL     rows that the product takes at once with one panel of columns: TALL * PANEL / LANES sums and as many
 *            vectors as a panel has must fit into the registers
 *   WIDE     panels that it takes at once with half as many rows; 1 where one panel fills the registers
 */
#include "kernels.h"

#define JOINED(a, b) a##b
#define JOIN(a, b) JOINED(a, b)
#define OWN(name) JOIN(JOIN(name, _), NAME)
#define TEXT(name) TEXT_OF(name)
#define TEXT_OF(name) #name

#ifdef __GNUC__
#define INLINE static inline __attribute__((always_inline)) TARGET
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif
#else
#define INLINE static inline
#define UNROLL
#endif

#if LANES > 1
/* Any float is aligned enough, and may be read as a part of a vector. */
typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#else
typedef float vector;
#endif

#define VECTORS (PANEL / LANES)

/* Products that are summed in one go. */
#define PART 64

/* Of one float; a NaN becomes slope * NaN, which is one. */
INLINE float activated_one(float x, const struct finish *finish)
{
    if (finish->activation == HARD_SWISH) {
        float gate = x * (1.0f / 6) + 0.5f;
        gate = gate > 0 ? gate : 0;
        return x * (gate < 1 ? gate : 1);
    }
    return x > 0 ? x : finish->slope * x;
}

#if LANES > 1
typedef int32_t mask __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* The same of a vector: a comparison gives a mask of whole lanes, by which one of two is chosen. */
INLINE void activate(vector *x, const struct finish *finish)
{
    const vector zero = {0};
    if (finish->activation == HARD_SWISH) {
        const vector one = zero + 1.0f;
        vector gate = *x * (1.0f / 6) + 0.5f;
        gate = (vector)((mask)gate & (gate > zero));
        const mask low = gate < one;
        *x *= (vector)(((mask)gate & low) | ((mask)one & ~low));
    } else {
        const mask keep = *x > zero;
        *x = (vector)(((mask)*x & keep) | ((mask)(*x * finish->slope) & ~keep));
    }
}
#else
INLINE void activate(vector *x, const struct finish *finish)
{
    *x = activated_one(*x, finish);
}
#endif

/* The last columns, which fill no panel. */
static void store_part(const float *row, const float *add, size_t count, float *to)
{
    for (size_t c = 0; c < count; c++)
        to[c] = row[c] + (add ? add[c] : 0);
}

/* The product of a few rows with a few panels; `rows` and `panels` are constants.
 *
 * A sum of thousands in one float32 loses digits: PART products at a time are summed in registers, and what they come to
 * is summed in turn (Higham, The accuracy of floating point summation, https://doi.org/10.1137/0914050).
 */
INLINE void tile(const float *a, size_t a_stride, const float *b, size_t depth, size_t columns, const struct finish *finish,
                 size_t column, float *out, size_t out_stride, size_t rows, size_t panels)
{
    const vector zero = {0};
    vector sums[TALL][WIDE * VECTORS];
    UNROLL for (size_t v = 0; v < panels * VECTORS; v++) {
        const vector start = finish->bias ? *(const vector *)(finish->bias + column + v * LANES) : zero;
        UNROLL for (size_t r = 0; r < rows; r++)
            sums[r][v] = start;
    }
    for (size_t from = 0; from < depth; from += PART) {
        const size_t until = depth - from < PART ? depth : from + PART;
        vector parts[TALL][WIDE * VECTORS];
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t v = 0; v < panels * VECTORS; v++)
                parts[r][v] = zero;
        for (size_t k = from; k < until; k++) {
            vector weights[WIDE * VECTORS];
            UNROLL for (size_t v = 0; v < panels * VECTORS; v++)
                weights[v] = *(const vector *)(b + (v / VECTORS) * depth * PANEL + k * PANEL + v % VECTORS * LANES);
            UNROLL for (size_t r = 0; r < rows; r++) {
                float x = a[r * a_stride + k];
                UNROLL for (size_t v = 0; v < panels * VECTORS; v++)
                    parts[r][v] += weights[v] * x;
            }
        }
        UNROLL for (size_t r = 0; r < rows; r++)
            UNROLL for (size_t v = 0; v < panels * VECTORS; v++)
                sums[r][v] += parts[r][v];
    }
    UNROLL for (size_t r = 0; r < rows; r++) {
        UNROLL for (size_t p = 0; p < panels; p++) {
            const size_t at = column + p * PANEL;
            float *to = out + r * out_stride + at;
            const float *add = finish->add ? finish->add + r * out_stride + at : NULL;
            vector *own = &sums[r][p * VECTORS];
            UNROLL for (size_t v = 0; v < VECTORS; v++)
                activate(&own[v], finish);
            if (at + PANEL <= columns) {
                UNROLL for (size_t v = 0; v < VECTORS; v++) {
                    if (add)
                        own[v] += *(const vector *)(add + v * LANES);
                    *(vector *)(to + v * LANES) = own[v];
                }
            } else {
                float row[PANEL];
                UNROLL for (size_t v = 0; v < VECTORS; v++)
                    *(vector *)(row + v * LANES) = own[v];
                store_part(row, add, columns - at, to);
            }
        }
    }
}

TARGET static void OWN(gemm)(const float *a, size_t rows, size_t a_stride, const float *b, size_t depth, size_t columns,
                             const struct finish *finish, float *out, size_t out_stride)
{
    /* As many rows at a time as stay in the second cache, beside the panels that they meet. */
    size_t chunk = 24576 / (depth + 1) / TALL * TALL;
    if (chunk < 4 * TALL)
        chunk = 4 * TALL;
    for (size_t from = 0; from < rows; from += chunk) {
        size_t until = rows - from < chunk ? rows : from + chunk;
        for (size_t column = 0; column < columns;) {
            struct finish here = *finish;
            const float *panel = b + column * depth;
            size_t wide = columns - column > (WIDE - 1) * PANEL ? WIDE : WIDE > 2 && columns - column > PANEL ? WIDE / 2 : 1;
            size_t row = from;
#define ROWS(n, p)                                                                                                     \
    for (; until - row >= (n); row += (n)) {                                                                           \
        here.add = finish->add ? finish->add + row * out_stride : NULL;                                                \
        tile(a + row * a_stride, a_stride, panel, depth, columns, &here, column, out + row * out_stride, out_stride,   \
             n, p);                                                                                                    \
    }
#if WIDE > 1
            if (wide == WIDE) {
                ROWS(TALL / 2, WIDE)
#if TALL / 2 > 4
                ROWS(4, WIDE)
#endif
                ROWS(2, WIDE)
                ROWS(1, WIDE)
            }
#if WIDE > 2
            else if (wide == WIDE / 2) {
                ROWS(TALL, WIDE / 2)
                ROWS(TALL / 2, WIDE / 2)
                ROWS(2, WIDE / 2)
                ROWS(1, WIDE / 2)
            }
#endif
            else
#endif
            {
                ROWS(TALL, 1)
#if TALL > 4
                ROWS(TALL / 2, 1)
#endif
                ROWS(2, 1)
                ROWS(1, 1)
            }
#undef ROWS
            column += wide * PANEL;
        }
    }
}

#define DEPTHWISE_LANES LANES
#include "depthwise.h"
#if LANES > 8
#define DEPTHWISE_LANES 8
#include "depthwise.h"
#endif
#if LANES > 4
#define DEPTHWISE_LANES 4
#include "depthwise.h"
#endif
#if LANES > 1
#define DEPTHWISE_LANES 1
#include "depthwise.h"
#endif

TARGET static void OWN(depthwise)(const struct window *window, const float *x, const float *weights,
                                  const struct finish *finish, float *out)
{
    for (size_t row = 0; row < window->out_height; row++) {
        size_t channel = 0;
        for (; window->channels - channel >= LANES; channel += LANES)
            JOIN(depthwise_row_, LANES)(window, row, channel, x, weights, finish, out);
#if LANES > 8
        for (; window->channels - channel >= 8; channel += 8)
            depthwise_row_8(window, row, channel, x, weights, finish, out);
#endif
#if LANES > 4
        for (; window->channels - channel >= 4; channel += 4)
            depthwise_row_4(window, row, channel, x, weights, finish, out);
#endif
#if LANES > 1
        for (; window->channels - channel >= 1; channel += 1)
            depthwise_row_1(window, row, channel, x, weights, finish, out);
#endif
    }
}

const struct simd OWN(sp_simd) = {TEXT(NAME), OWN(gemm), OWN(depthwise)};
