/* AVX2, on processors that have it; simd.c asks. */
#if defined(__GNUC__) && defined(__x86_64__)
#define NAME avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define TALL 6
#define WIDE 1
#include "hot.h"
#else
typedef int nothing_for_this_processor;
#endif
