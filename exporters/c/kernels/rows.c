/* What is computed of whole rows. */
#include "kernels.h"

#include <math.h>

void sp_softmax(const float *x, size_t rows, size_t count, float *out)
{
    for (size_t r = 0; r < rows; r++, x += count, out += count) {
        float greatest = x[0], sum = 0;
        for (size_t i = 1; i < count; i++)
            greatest = x[i] > greatest ? x[i] : greatest;
        for (size_t i = 0; i < count; i++) {
            out[i] = expf(x[i] - greatest);
            sum += out[i];
        }
        for (size_t i = 0; i < count; i++)
            out[i] /= sum;
    }
}

void sp_layer_norm(const float *x, size_t rows, size_t count, const float *scale, const float *shift, float epsilon,
                float *out)
{
    for (size_t r = 0; r < rows; r++, x += count, out += count) {
        float mean = 0, variance = 0;
        for (size_t i = 0; i < count; i++)
            mean += x[i];
        mean /= (float)count;
        for (size_t i = 0; i < count; i++)
            variance += (x[i] - mean) * (x[i] - mean);
        const float factor = 1 / sqrtf(variance / (float)count + epsilon);
        for (size_t i = 0; i < count; i++)
            out[i] = (x[i] - mean) * factor * scale[i] + (shift ? shift[i] : 0);
    }
}
