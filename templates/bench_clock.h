/* A clock that costs a few nanoseconds: the processor's time-stamp counter where there is one that
   C can read, else the system's. What a tick is worth is found out beside the measurement. */
#ifndef AUTODIFFC_BENCH_CLOCK_H
#define AUTODIFFC_BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t bench_now(void)
{
#if defined(__x86_64__)
    __builtin_ia32_lfence(); /* what stands before is done, and nothing behind has begun */
    const uint64_t ticks = __builtin_ia32_rdtsc();
    __builtin_ia32_lfence();
    return ticks;
#elif defined(__aarch64__)
    uint64_t ticks;
    __asm__ volatile("isb; mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
#endif
}

#endif
