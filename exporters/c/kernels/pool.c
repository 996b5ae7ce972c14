/* Pools over the pixels of a window. */
#include "kernels.h"

/* The part of the window at an output pixel that is inside: rows and columns of the input, the last one excluded. */
struct part {
    size_t top, bottom, left, right;
};

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct part inside(const struct window *w, size_t row, size_t column)
{
    const size_t y = row * w->stride_height, z = column * w->stride_width;
    struct part part = {
        y > w->top ? y - w->top : 0,
        least(y + w->kernel_height > w->top ? y + w->kernel_height - w->top : 0, w->height),
        z > w->left ? z - w->left : 0,
        least(z + w->kernel_width > w->left ? z + w->kernel_width - w->left : 0, w->width),
    };
    return part;
}

void sp_average_pool(const struct window *w, const float *x, int count_outside, float *out)
{
    for (size_t row = 0; row < w->out_height; row++)
        for (size_t column = 0; column < w->out_width; column++, out += w->channels) {
            const struct part part = inside(w, row, column);
            for (size_t c = 0; c < w->channels; c++)
                out[c] = 0;
            for (size_t y = part.top; y < part.bottom; y++)
                for (size_t z = part.left; z < part.right; z++)
                    for (size_t c = 0; c < w->channels; c++)
                        out[c] += x[(y * w->width + z) * w->channels + c];
            const size_t count = count_outside ? w->kernel_height * w->kernel_width
                                               : (part.bottom - part.top) * (part.right - part.left);
            for (size_t c = 0; c < w->channels; c++)
                out[c] /= (float)count;
        }
}

void sp_max_pool(const struct window *w, const float *x, float *out)
{
    for (size_t row = 0; row < w->out_height; row++)
        for (size_t column = 0; column < w->out_width; column++, out += w->channels) {
            const struct part part = inside(w, row, column);
            const float *first = x + (part.top * w->width + part.left) * w->channels;
            for (size_t c = 0; c < w->channels; c++)
                out[c] = first[c];
            for (size_t y = part.top; y < part.bottom; y++)
                for (size_t z = part.left; z < part.right; z++)
                    for (size_t c = 0; c < w->channels; c++) {
                        const float value = x[(y * w->width + z) * w->channels + c];
                        if (value > out[c])
                            out[c] = value;
                    }
        }
}
