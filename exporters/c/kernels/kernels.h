/* The operations that a generated model calls. Nothing here allocates, keeps state or reads beyond what it is given.
 *
 * Images are channels-last: (height, width, channels), the channels of a pixel beside each other. Matrices of weights
 * are packed in panels of 16 columns: (columns / 16, depth, 16), the last panel filled up with zeros; so are biases.
 */
#ifndef KERNELS_H
#define KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define PANEL 16

/* RAMP is x above zero and slope * x below: a slope of 1 changes nothing, 0 is ReLU. */
enum activation { RAMP, HARD_SWISH };

/* What becomes of a sum before it is stored: activation(sum + bias) + add. */
struct finish {
    const float *bias; /* one a column, filled up to whole panels; NULL for none */
    enum activation activation;
    float slope;
    const float *add; /* laid out as the output is; NULL for none */
};

/* A convolution or a pool. Channels are those of a group for a grouped convolution, of the image else. */
struct window {
    size_t height, width, channels; /* of the input */
    size_t kernel_height, kernel_width, stride_height, stride_width, dilation_height, dilation_width;
    size_t top, left;             /* zeros before the input */
    size_t out_height, out_width; /* of the output */
};

/* The two kernels in which the time goes, once for each set of vector instructions. */
struct simd {
    const char *name;

    /* out = finish(a b): `a` is (rows, depth), its rows `a_stride` floats apart; `b` is panels; rows of the output (and
     * of finish->add) are `out_stride` floats apart. */
    void (*gemm)(const float *a, size_t rows, size_t a_stride, const float *b, size_t depth, size_t columns,
                 const struct finish *finish, float *out, size_t out_stride);

    /* A convolution of each channel with its own kernel; `weights` are (kernel height, kernel width, channels). */
    void (*depthwise)(const struct window *window, const float *x, const float *weights, const struct finish *finish,
                      float *out);
};

/* The fastest that this processor runs. */
const struct simd *sp_simd_here(void);

/* All that were compiled in, NULL last; a processor may not run each. For tests. */
extern const struct simd *const sp_simd_compiled[];

/* -- gemm.c -- */

/* Floats of scratch that `sp_matmul` wants for this depth. */
size_t sp_matmul_scratch(size_t depth);

/* out = a b, with `b` packed on the way: element (k, n) of it is b[k * b_row + n * b_column]. No finish. */
void sp_matmul(const struct simd *simd, const float *a, size_t rows, size_t a_stride, const float *b, size_t b_row,
            size_t b_column, size_t depth, size_t columns, float *out, size_t out_stride, float *scratch);

/* -- conv.c -- */

/* Floats of scratch that `sp_conv` wants: none where the input can be read as it lies. */
size_t sp_conv_scratch(const struct window *window, size_t groups);

/* `weights`: for each group panels of (kernel height * kernel width * channels, columns), columns being the output's
 * channels of a group; biases are filled up to whole panels for each group as well. */
void sp_conv(const struct simd *simd, const struct window *window, size_t groups, const float *x, const float *weights,
          size_t columns, const struct finish *finish, float *out, float *scratch);

/* -- pool.c -- */

/* The mean of each window; what lies outside counts as zero, or not at all. */
void sp_average_pool(const struct window *window, const float *x, int count_outside, float *out);

/* The maximum of each window, of what lies inside. */
void sp_max_pool(const struct window *window, const float *x, float *out);

/* -- reduce.c: x is (outer, count, inner), out is (outer, inner) -- */

void sp_reduce_sum(const float *x, size_t outer, size_t count, size_t inner, float scale, float *out);
void sp_reduce_max(const float *x, size_t outer, size_t count, size_t inner, float *out);

/* -- rows.c: x and out are (rows, count); they may be the same -- */

void sp_softmax(const float *x, size_t rows, size_t count, float *out);
void sp_layer_norm(const float *x, size_t rows, size_t count, const float *scale, const float *shift, float epsilon,
                float *out);

/* -- move.c -- */

/* out[c][r] = x[r][c] */
void sp_transpose(const float *x, size_t rows, size_t columns, size_t x_stride, float *out, size_t out_stride);

/* Mirrors the ends of (outer, before + count + after, inner), of which the middle is there: the first and the last of
 * it are not repeated. Needs count > before and count > after. */
void sp_reflect(float *x, size_t outer, size_t before, size_t count, size_t after, size_t inner);

/* The same, the ends filled with the first and the last of the middle. */
void sp_repeat(float *x, size_t outer, size_t before, size_t count, size_t after, size_t inner);

/* The same, the ends filled with a number. */
void sp_surround(float *x, size_t outer, size_t before, size_t count, size_t after, size_t inner, float value);

/* -- memory.c -- */

/* An array that steps `first` to `last` need; `offset` is where it is put, in bytes. */
struct buffer {
    uint64_t bytes;
    uint32_t first, last;
    uint64_t offset;
};

/* Puts the buffers so that no two are in the same place at the same step, and returns how many bytes that takes.
 * `order` has room for `count` numbers. */
uint64_t sp_plan_memory(struct buffer *buffers, uint32_t *order, uint32_t count);

#endif
