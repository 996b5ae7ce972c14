/* What every processor of the target has: vectors of four floats, or plain C99. */
#define NAME any
#define TARGET
#if defined(__GNUC__)
#define LANES 4
#else
#define LANES 1
#endif
/* 32 registers hold six rows of a panel; 16 hold three, of which two are used, so that all rows go in pairs. */
#if defined(__aarch64__)
#define TALL 6
#else
#define TALL 2
#endif
#define WIDE 1
#include "hot.h"
