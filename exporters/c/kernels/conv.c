/* Convolutions as products: a row of the left matrix is what a window sees. */
#include "kernels.h"

#include <string.h>

/* Windows that are written out at a time. */
#define TILE 48

static size_t depth_of(const struct window *w)
{
    return w->kernel_height * w->kernel_width * w->channels;
}

/* Whether all that a window sees lies in the input as one piece, and windows at equal distances. */
static int lies_so(const struct window *w, size_t groups)
{
    if (groups != 1 || w->kernel_height != 1 || w->top || w->left)
        return 0;
    if (w->kernel_width > 1 && (w->dilation_width != 1 || w->height != 1))
        return 0;
    return w->height == 1 || (w->stride_height == 1 && w->stride_width == 1);
}

size_t sp_conv_scratch(const struct window *w, size_t groups)
{
    return lies_so(w, groups) ? 0 : TILE * depth_of(w);
}

/* What the window at an output pixel sees of a group, zeros where that is outside. `step` is from pixel to pixel. */
static void see(const struct window *w, size_t row, size_t column, const float *x, size_t step, float *to)
{
    const ptrdiff_t above = (ptrdiff_t)(row * w->stride_height) - (ptrdiff_t)w->top;
    const ptrdiff_t before = (ptrdiff_t)(column * w->stride_width) - (ptrdiff_t)w->left;
    for (size_t i = 0; i < w->kernel_height; i++) {
        const ptrdiff_t y = above + (ptrdiff_t)(i * w->dilation_height);
        if (y < 0 || y >= (ptrdiff_t)w->height) {
            memset(to, 0, w->kernel_width * w->channels * sizeof(float));
            to += w->kernel_width * w->channels;
            continue;
        }
        for (size_t j = 0; j < w->kernel_width; j++) {
            const ptrdiff_t z = before + (ptrdiff_t)(j * w->dilation_width);
            const int inside = z >= 0 && z < (ptrdiff_t)w->width;
            const float *pixel = inside ? x + ((size_t)y * w->width + (size_t)z) * step : NULL;
            if (w->channels == 1)
                *to++ = inside ? *pixel : 0;
            else
                for (size_t c = 0; c < w->channels; c++)
                    *to++ = inside ? pixel[c] : 0;
        }
    }
}

void sp_conv(const struct simd *simd, const struct window *w, size_t groups, const float *x, const float *weights,
          size_t columns, const struct finish *finish, float *out, float *scratch)
{
    const size_t pixels = w->out_height * w->out_width, depth = depth_of(w);
    if (lies_so(w, groups)) {
        simd->gemm(x, pixels, w->stride_width * w->channels, weights, depth, columns, finish, out, columns);
        return;
    }
    const size_t filled = (columns + PANEL - 1) / PANEL * PANEL;
    for (size_t group = 0; group < groups; group++) {
        for (size_t from = 0; from < pixels; from += TILE) {
            const size_t count = pixels - from < TILE ? pixels - from : TILE;
            for (size_t p = 0; p < count; p++)
                see(w, (from + p) / w->out_width, (from + p) % w->out_width, x + group * w->channels,
                    groups * w->channels, scratch + p * depth);
            struct finish here = *finish;
            const size_t place = from * groups * columns + group * columns;
            if (finish->bias)
                here.bias = finish->bias + group * filled;
            if (finish->add)
                here.add = finish->add + place;
            simd->gemm(scratch, count, depth, weights + group * filled * depth, depth, columns, &here, out + place,
                       groups * columns);
        }
    }
}
