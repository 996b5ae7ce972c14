/* AVX-512, on processors that have it; simd.c asks. */
#if defined(__GNUC__) && defined(__x86_64__)
#define NAME avx512
#define TARGET __attribute__((target("avx512f,avx512vl,avx2,fma")))
#define LANES 16
#define TALL 12
#define WIDE 4
#include "hot.h"
#else
typedef int nothing_for_this_processor;
#endif
