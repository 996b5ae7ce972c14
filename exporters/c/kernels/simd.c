/* Which vector instructions there are. */
#include "kernels.h"

extern const struct simd sp_simd_any;

#if defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>

extern const struct simd sp_simd_avx2, sp_simd_avx512;

const struct simd *const sp_simd_compiled[] = {&sp_simd_any, &sp_simd_avx2, &sp_simd_avx512, NULL};

/* Bits of "CPUID" and "XGETBV" in Intel's Software Developer's Manual, volumes 1 and 2. */
const struct simd *sp_simd_here(void)
{
    const unsigned fma = 1u << 12, xsave = 1u << 27, avx2 = 1u << 5, avx512f = 1u << 16, avx512vl = 1u << 31;
    const unsigned ymm = 0x06, zmm = 0xe6; /* registers that the system keeps for each thread */
    unsigned eax, ebx, ecx, edx, kept, high;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & fma) || !(ecx & xsave))
        return &sp_simd_any;
    __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (kept & ymm) != ymm || !(ebx & avx2))
        return &sp_simd_any;
    if ((kept & zmm) == zmm && (ebx & avx512f) && (ebx & avx512vl))
        return &sp_simd_avx512;
    return &sp_simd_avx2;
}
#else
const struct simd *const sp_simd_compiled[] = {&sp_simd_any, NULL};

const struct simd *sp_simd_here(void)
{
    return &sp_simd_any;
}
#endif
