/* What tag.c reads: a sound, of a WAV file or of bare samples. What is wrong with it ends the program in one line. */
#ifndef SOUND_H
#define SOUND_H

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    fputs("tag: ", stderr);
    vfprintf(stderr, format, values);
    fputc('\n', stderr);
    va_end(values);
    exit(2);
}

static void *take(size_t count, size_t bytes)
{
    /* The product may be more than a size_t of 32 bits holds. */
    void *memory = count <= SIZE_MAX / bytes ? malloc(count ? count * bytes : 1) : NULL;
    if (!memory)
        fail("there is no memory for %zu times %zu bytes; give a shorter sound, or --hop", count, bytes);
    return memory;
}

struct bytes {
    unsigned char *data;
    size_t count;
};

static struct bytes read_all(FILE *file)
{
    struct bytes all = {NULL, 0};
    size_t room = 0;
    for (;;) {
        if (all.count == room) {
            if (room > SIZE_MAX / 2)
                fail("stdin has more bytes than can be addressed");
            room = room ? 2 * room : 1 << 16;
            unsigned char *more = realloc(all.data, room);
            if (!more)
                fail("there is no memory for %zu bytes; cut the sound into pieces", room);
            all.data = more;
        }
        size_t got = fread(all.data + all.count, 1, room - all.count, file);
        all.count += got;
        if (got == 0) {
            if (ferror(file))
                fail("stdin cannot be read: %s", strerror(errno));
            return all;
        }
    }
}

static uint32_t u16(const unsigned char *b)
{
    return (uint32_t)b[0] | (uint32_t)b[1] << 8;
}

static uint32_t u32(const unsigned char *b)
{
    return u16(b) | u16(b + 2) << 16;
}

/* One sample, full scale 1. */
static double sample(const unsigned char *b, int is_float, unsigned bits)
{
    if (is_float && bits == 32) {
        uint32_t word = u32(b);
        float value;
        memcpy(&value, &word, sizeof value);
        return value;
    }
    if (is_float) {
        uint64_t word = (uint64_t)u32(b) | (uint64_t)u32(b + 4) << 32;
        double value;
        memcpy(&value, &word, sizeof value);
        return value;
    }
    switch (bits) {
    case 8: return ((int)b[0] - 128) / 128.0;
    case 16: return (int16_t)u16(b) / 32768.0;
    case 24: return (int32_t)((uint32_t)b[0] << 8 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 24) / 2147483648.0;
    default: return (int32_t)u32(b) / 2147483648.0;
    }
}

struct sound {
    float *samples;
    size_t count;
};

static struct sound decode(const unsigned char *data, size_t bytes, unsigned channels, int is_float, unsigned bits)
{
    const size_t width = bits / 8, frame = width * channels;
    struct sound sound = {NULL, bytes / frame};
    sound.samples = take(sound.count, sizeof(float));
    for (size_t i = 0; i < sound.count; i++) {
        double sum = 0;
        for (unsigned c = 0; c < channels; c++) {
            double value = sample(data + i * frame + c * width, is_float, bits);
            /* 2^31 is the full scale of integers that nobody has scaled. */
            if (!(fabs(value) <= 2147483648.0))
                fail("sample %zu is NaN, infinite or beyond any full scale; write the sound again", i);
            sum += value;
        }
        sound.samples[i] = (float)(sum / channels);
    }
    return sound;
}

/* https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html */
static struct sound read_wav(struct bytes file, unsigned wanted)
{
    const unsigned char *format = NULL;
    size_t format_bytes = 0;
    if (file.count < 12 || memcmp(file.data, "RIFF", 4) || memcmp(file.data + 8, "WAVE", 4))
        fail("stdin is no WAV file; give one, or --raw for bare samples");
    for (size_t at = 12; file.count - at >= 8;) {
        const unsigned char *chunk = file.data + at;
        const size_t left = file.count - at - 8, said = u32(chunk + 4);
        if (!memcmp(chunk, "data", 4)) {
            if (!format)
                fail("the WAV file has no format before its samples; write it again");
            const unsigned channels = u16(format + 2), rate = u32(format + 4), bits = u16(format + 14);
            unsigned tag = u16(format);
            if (tag == 0xfffe && format_bytes >= 26)
                tag = u16(format + 24);
            const int is_float = tag == 3;
            if (!(tag == 1 && (bits == 8 || bits == 16 || bits == 24 || bits == 32)) &&
                !(is_float && (bits == 32 || bits == 64)))
                fail("the WAV file has format %u with %u bits; PCM of 8 to 32 and float of 32 or 64 are read", tag, bits);
            if (channels == 0)
                fail("the WAV file says that it has no channels; write it again");
            if (rate != wanted)
                fail("the sound has %u samples a second and the model takes %u; resample it, as with: "
                     "sox IN.wav -r %u OUT.wav", rate, wanted, wanted);
            /* What is written into a pipe says a length that nobody knew. */
            if (said > left && said < 0x7ffff000)
                fail("the WAV file is cut off: %zu of %zu bytes of samples are there", left, said);
            return decode(chunk + 8, said < left ? said : left, channels, is_float, bits);
        }
        if (said > left)
            break;
        if (!memcmp(chunk, "fmt ", 4) && said >= 16) {
            format = chunk + 8;
            format_bytes = said;
        }
        const size_t next = said + (said & 1);
        if (next > left)
            break;
        at += 8 + next;
    }
    fail("the WAV file holds no samples, or is cut off before them");
    return (struct sound){NULL, 0};
}

#endif
