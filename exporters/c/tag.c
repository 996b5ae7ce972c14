/* Tags the sound on stdin: prints the classes with the greatest scores. README.md says how it is built and used. */
#include "model.h"

#include "sound.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#elif defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#endif

static const char usage[] =
    "usage: tag [options] < sound.wav\n"
    "  --top N              print so many classes (10)\n"
    "  --all                print every class\n"
    "  --json               print JSON\n"
    "  --hop S              move a window over the whole sound by S seconds; a line a window\n"
    "  --window S           of this length (%g s)\n"
    "  --raw f32|s16        stdin is no WAV but bare samples: little-endian, mono, at the model's rate\n"
    "  --outputs            write all outputs for bare float32 samples, each as a .npy, and nothing else\n"
    "  --weights-file FILE  take the weights from weights.bin, not from those linked in\n";

static const float *weights_of(const char *path)
{
    const size_t bytes = (size_t)MODEL_WEIGHTS * sizeof(float);
    if (!path) {
#ifdef WEIGHTS_APART
        fail("no weights are linked in; give --weights-file FILE");
        return NULL;
#else
        return model_weights;
#endif
    }
#if defined(__unix__) || defined(__APPLE__)
    struct stat found;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &found) < 0)
        fail("%s: cannot be read: %s", path, strerror(errno));
    if (!S_ISREG(found.st_mode) || (uintmax_t)found.st_size != bytes)
        fail("%s: is not this model's weights.bin, which has %zu bytes", path, bytes);
    const void *mapped = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (mapped == MAP_FAILED)
        fail("%s: cannot be mapped: %s", path, strerror(errno));
    close(file);
    return mapped;
#else
    FILE *file = fopen(path, "rb");
    float *weights = take(MODEL_WEIGHTS, sizeof(float));
    if (!file || fread(weights, 1, bytes, file) != bytes)
        fail("%s: is not this model's weights.bin, which has %zu bytes", path, bytes);
    fclose(file);
    return weights;
#endif
}

static size_t memory_of(size_t length)
{
    const size_t bytes = model_memory(length);
    if (!bytes)
        fail("an input of length %zu needs more memory than can be addressed; give a shorter sound, or --hop and a "
             "shorter --window", length);
    return bytes;
}

static void run(const float *weights, const float *fed, size_t length, void *memory, float *const outputs[])
{
    if (model_run(weights, fed, length, memory, outputs) != 0)
        fail("the model takes no input of length %zu", length);
}

struct options {
    size_t top;
    int json, outputs, raw_bits;
    double hop, window;
    const char *weights;
};

static void print_text(const char *text, int json)
{
    for (; json && *text; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    if (!json)
        fputs(text, stdout);
}

#if MODEL_SCORES >= 0
/* (classes,) as probabilities, in place. */
static void probabilities(float *scores)
{
#if MODEL_KIND == 1
    for (size_t c = 0; c < MODEL_CLASSES; c++)
        scores[c] = 1 / (1 + expf(-scores[c]));
#elif MODEL_KIND == 2
    float greatest = scores[0], sum = 0;
    for (size_t c = 1; c < MODEL_CLASSES; c++)
        greatest = scores[c] > greatest ? scores[c] : greatest;
    for (size_t c = 0; c < MODEL_CLASSES; c++)
        sum += scores[c] = expf(scores[c] - greatest);
    for (size_t c = 0; c < MODEL_CLASSES; c++)
        scores[c] /= sum;
#else
    (void)scores;
#endif
}

/* The greatest first; of those that are the same, the first one. Scores are used up. */
static void print_best(float *scores, const struct options *options, double start, double end, int first)
{
    if (options->json)
        printf("%s[", first ? "" : ", ");
    for (size_t n = 0; n < options->top && n < MODEL_CLASSES; n++) {
        size_t best = 0;
        for (size_t c = 1; c < MODEL_CLASSES; c++)
            if (!(scores[c] <= scores[best]))
                best = c;
        if (options->json) {
            printf("%s{\"label\": \"", n ? ", " : "");
            print_text(model_labels[best], 1);
            printf("\", \"score\": %.6g}", (double)scores[best]);
        } else {
            if (options->hop > 0)
                printf("%.2f to %.2f s  ", start, end);
            printf("%.4f  %s\n", (double)scores[best], model_labels[best]);
        }
        scores[best] = -INFINITY;
    }
    if (options->json)
        putchar(']');
}

static void tag(struct sound sound, const float *weights, const struct options *options)
{
    const double rate = MODEL_SAMPLE_RATE;
#ifdef MODEL_PEAK
    float greatest = 0;
    for (size_t i = 0; i < sound.count; i++)
        greatest = fabsf(sound.samples[i]) > greatest ? fabsf(sound.samples[i]) : greatest;
    for (size_t i = 0; i < sound.count && greatest > 0; i++)
        sound.samples[i] = (float)MODEL_PEAK * (sound.samples[i] / greatest);
#endif
    const int fixed = MODEL_LEAST == MODEL_MOST;
    const int windows = options->hop > 0;
    size_t window = fixed ? MODEL_MOST : sound.count;
    if (windows) {
        const double wanted = floor(options->window * rate + 0.5);
        if (wanted < MODEL_LEAST || wanted > MODEL_MOST)
            fail("--window %g: the model takes %g to %g s", options->window, MODEL_LEAST / rate, MODEL_MOST / rate);
        window = (size_t)wanted;
    }
#ifndef MODEL_PEAK
    if (sound.count < MODEL_LEAST)
        fail("the sound has %zu samples, %g s, and the model needs at least %g s; pad it with silence", sound.count,
             sound.count / rate, MODEL_LEAST / rate);
    if (!windows && sound.count > MODEL_MOST)
        fail("the sound is %g s long and the model takes at most %g s; give --hop S to go over all of it",
             sound.count / rate, MODEL_MOST / rate);
#endif
    const double step_wanted = options->hop * rate;
    const size_t step = !windows ? sound.count + 1 : step_wanted < 1 ? 1
                                 : step_wanted > (double)sound.count  ? sound.count + 1 : (size_t)(step_wanted + 0.5);
    float scores[MODEL_CLASSES];
    float *outputs[MODEL_OUTPUTS] = {NULL};
    outputs[MODEL_SCORES] = scores;
    void *memory = NULL;
    size_t room = 0;
    float *padded = fixed ? take(window, sizeof(float)) : NULL;
    if (options->json)
        printf("{\"top\": [");
    /* A window begins only where something is left that those before did not reach. */
    const size_t overlap = window > step ? window - step : 0;
    const size_t end = sound.count > overlap ? sound.count - overlap : 1;
    size_t count = 0;
    for (size_t start = 0; start < end; start += step, count++) {
        size_t length = sound.count - start < window ? sound.count - start : window;
        const float *samples = sound.samples + start;
        if (fixed) {
#ifndef MODEL_PEAK
            if (length < window)
                break;
#endif
            memcpy(padded, samples, length * sizeof(float));
            memset(padded + length, 0, (window - length) * sizeof(float));
            samples = padded;
        } else if (length < MODEL_LEAST) {
            break;
        }
        const size_t fed = fixed ? window : length, needed = memory_of(fed);
        if (needed > room) {
            free(memory);
            memory = take(room = needed, 1);
        }
        run(weights, samples, fed, memory, outputs);
        probabilities(scores);
        print_best(scores, options, start / rate, (start + length) / rate, count == 0);
    }
    if (options->json) {
        printf("]");
        if (windows) {
            printf(", \"windows\": [");
            for (size_t n = 0; n < count; n++) {
                size_t last = n * step + window < sound.count ? n * step + window : sound.count;
                printf("%s[%.9g, %.9g]", n ? ", " : "", n * step / rate, last / rate);
            }
            printf("]");
        }
        printf("}\n");
    } else if (fixed && !windows && sound.count > window) {
        fprintf(stderr, "note: used the first %.4g s of %.4g s; --hop S goes over all of it\n", window / rate,
                sound.count / rate);
    }
    free(padded);
    free(memory);
}
#endif

/* All outputs for what is fed as it is, each as NumPy writes an array
 * (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). */
static void write_outputs(struct bytes file, const float *weights)
{
    const size_t length = file.count / sizeof(float) / MODEL_ROWS;
    if (length * MODEL_ROWS * sizeof(float) != file.count || length < MODEL_LEAST || length > MODEL_MOST)
        fail("stdin has %zu bytes; float32 are wanted, %u in each of %u to %u steps", file.count, (unsigned)MODEL_ROWS,
             (unsigned)MODEL_LEAST, (unsigned)MODEL_MOST);
    void *memory = take(memory_of(length), 1);
    float *outputs[MODEL_OUTPUTS];
    size_t counts[MODEL_OUTPUTS], shape[MODEL_AXES];
    for (int output = 0; output < MODEL_OUTPUTS; output++) {
        const int axes = model_shape(output, length, shape);
        counts[output] = 1;
        for (int axis = 0; axis < axes; axis++)
            counts[output] = counts[output] > SIZE_MAX / (shape[axis] + 1) ? SIZE_MAX : counts[output] * shape[axis];
        outputs[output] = take(counts[output], sizeof(float));
    }
    run(weights, (const float *)(const void *)file.data, length, memory, outputs);
    free(memory);
    for (int output = 0; output < MODEL_OUTPUTS; output++) {
        char header[128], text[128] = "";
        const int axes = model_shape(output, length, shape);
        for (int axis = 0; axis < axes; axis++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%zu, ", shape[axis]);
        memcpy(header, "\x93NUMPY\1\0\x76\0", 10);
        memset(header + 10, ' ', 117);
        header[127] = '\n';
        const int used = snprintf(header + 10, 117, "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", text);
        header[10 + used] = ' ';
        if (fwrite(header, 1, sizeof header, stdout) != sizeof header ||
            fwrite(outputs[output], sizeof(float), counts[output], stdout) != counts[output])
            fail("stdout cannot be written: %s", strerror(errno));
        free(outputs[output]);
    }
}

static double number(const char *option, const char *text)
{
    char *end;
    const double value = text ? strtod(text, &end) : 0;
    if (!text || end == text || *end || !(value > 0) || !(value < 1e9))
        fail("%s: give a number that is more than 0", option);
    return value;
}

int main(int argc, char **argv)
{
    const double usual = MODEL_DEFAULT / (double)(MODEL_SAMPLE_RATE ? MODEL_SAMPLE_RATE : 1);
    struct options options = {10, 0, 0, 0, 0, 0, NULL};
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *value = argv[i + 1];
        if (!strcmp(option, "--json")) {
            options.json = 1;
        } else if (!strcmp(option, "--all")) {
            options.top = SIZE_MAX;
        } else if (!strcmp(option, "--outputs")) {
            options.outputs = 1;
        } else if (!strcmp(option, "--top")) {
            options.top = (size_t)number(option, value), i++;
            if (!options.top)
                fail("--top: give a number that is at least 1");
        } else if (!strcmp(option, "--hop")) {
            options.hop = number(option, value), i++;
        } else if (!strcmp(option, "--window")) {
            options.window = number(option, value), i++;
        } else if (!strcmp(option, "--raw") && value && (!strcmp(value, "f32") || !strcmp(value, "s16"))) {
            options.raw_bits = value[0] == 'f' ? 32 : 16, i++;
        } else if (!strcmp(option, "--weights-file") && value) {
            options.weights = value, i++;
        } else {
            const int asked = !strcmp(option, "--help");
            fprintf(asked ? stdout : stderr, usage, usual);
            return asked ? 0 : 2;
        }
    }
    if (options.window > 0 && !(options.hop > 0))
        fail("--window is the length of what --hop moves; give --hop S too");
    if (!(options.window > 0))
        options.window = usual;
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
    if (options.outputs)
        _setmode(_fileno(stdout), _O_BINARY);
#endif
    const float *weights = weights_of(options.weights);
    struct bytes file = read_all(stdin);
    if (options.outputs) {
        write_outputs(file, weights);
    } else {
#if MODEL_SCORES >= 0 && MODEL_SAMPLE_RATE > 0
        struct sound sound = options.raw_bits ? decode(file.data, file.count, 1, options.raw_bits == 32, options.raw_bits)
                                              : read_wav(file, MODEL_SAMPLE_RATE);
        free(file.data);
        file.data = NULL;
        if (!sound.count)
            fail("stdin holds no samples; give a sound");
        tag(sound, weights, &options);
        free(sound.samples);
#else
        fail("this model is fed no sound, or gives no scores of classes; --outputs writes what it gives");
#endif
    }
    free(file.data);
    if (fflush(stdout) != 0 || ferror(stdout))
        fail("stdout cannot be written: %s", strerror(errno));
    return 0;
}
