/* A row of a depthwise convolution for DEPTHWISE_LANES channels; hot.h includes this once for each number of them. */

#define WITH_LANES(name) JOIN(JOIN(name, _), DEPTHWISE_LANES)
#define PIXELS WITH_LANES(depthwise_pixels)
#define VECTOR WITH_LANES(depthwise_vector)

#if DEPTHWISE_LANES > 1
typedef float VECTOR __attribute__((vector_size(4 * DEPTHWISE_LANES), aligned(4), may_alias));
#else
typedef float VECTOR;
#endif

/* `count` pixels beside each other, of which all taps from `left` to `right` are inside; `count` is a constant. */
INLINE void PIXELS(const struct window *w, size_t top, size_t bottom, size_t left, size_t right, const float *x,
                   const float *weights, const struct finish *finish, float *out, const float *add, size_t count)
{
    const size_t step = w->stride_width * w->channels;
    VECTOR sums[4];
    UNROLL for (size_t p = 0; p < count; p++) {
        VECTOR zero = {0};
        sums[p] = finish->bias ? *(const VECTOR *)finish->bias : zero;
    }
    for (size_t i = top; i < bottom; i++) {
        const float *line = x + i * w->dilation_height * w->width * w->channels;
        const float *taps = weights + i * w->kernel_width * w->channels;
        for (size_t j = left; j < right; j++) {
            VECTOR tap = *(const VECTOR *)(taps + j * w->channels);
            const float *pixel = line + j * w->dilation_width * w->channels;
            UNROLL for (size_t p = 0; p < count; p++)
                sums[p] += *(const VECTOR *)(pixel + p * step) * tap;
        }
    }
    UNROLL for (size_t p = 0; p < count; p++) {
        float *to = out + p * w->channels;
#if DEPTHWISE_LANES == LANES
        vector sum = sums[p];
        activate(&sum, finish);
        if (add)
            sum += *(const vector *)(add + p * w->channels);
        *(vector *)to = sum;
#else
        float values[DEPTHWISE_LANES];
        *(VECTOR *)values = sums[p];
        for (size_t c = 0; c < DEPTHWISE_LANES; c++)
            to[c] = activated_one(values[c], finish) + (add ? add[p * w->channels + c] : 0);
#endif
    }
}

TARGET static void WITH_LANES(depthwise_row)(const struct window *w, size_t row, size_t channel, const float *x,
                                             const float *weights, const struct finish *finish, float *out)
{
    /* Pointers stand where the first tap would be, which may be outside: only taps that are inside are read. */
    const ptrdiff_t first = (ptrdiff_t)(row * w->stride_height) - (ptrdiff_t)w->top;
    size_t top = 0, bottom = w->kernel_height;
    while (top < bottom && first + (ptrdiff_t)(top * w->dilation_height) < 0)
        top++;
    while (bottom > top && first + (ptrdiff_t)((bottom - 1) * w->dilation_height) >= (ptrdiff_t)w->height)
        bottom--;
    const size_t reach = (w->kernel_width - 1) * w->dilation_width;
    struct finish here = *finish;
    if (finish->bias)
        here.bias = finish->bias + channel;
    for (size_t column = 0; column < w->out_width;) {
        const ptrdiff_t start = (ptrdiff_t)(column * w->stride_width) - (ptrdiff_t)w->left;
        const size_t to = (row * w->out_width + column) * w->channels + channel;
        const float *pixels = x + (first * (ptrdiff_t)w->width + start) * (ptrdiff_t)w->channels + (ptrdiff_t)channel;
        const float *add = finish->add ? finish->add + to : NULL;
        if (start >= 0 && column + 4 <= w->out_width && (size_t)start + 3 * w->stride_width + reach < w->width) {
            PIXELS(w, top, bottom, 0, w->kernel_width, pixels, weights + channel, &here, out + to, add, 4);
            column += 4;
            continue;
        }
        size_t left = 0, right = w->kernel_width;
        while (left < right && start + (ptrdiff_t)(left * w->dilation_width) < 0)
            left++;
        while (right > left && start + (ptrdiff_t)((right - 1) * w->dilation_width) >= (ptrdiff_t)w->width)
            right--;
        PIXELS(w, top, bottom, left, right, pixels, weights + channel, &here, out + to, add, 1);
        column++;
    }
}

#undef WITH_LANES
#undef PIXELS
#undef VECTOR
#undef DEPTHWISE_LANES
