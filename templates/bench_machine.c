/* What this machine can do at most, so that a kernel's time can be judged: multiply-adds from
   registers, and reads from memory of any size. Each function returns the ticks that it took.

   Compiled by itself, with -DBENCH_VECTOR_BYTES=16, 32 or 64. */
#include <stddef.h>
#include <stdint.h>

#include "bench_clock.h"

#ifdef _OPENMP
#include <omp.h>
#endif

#ifndef BENCH_VECTOR_BYTES
#define BENCH_VECTOR_BYTES 16
#endif

#if defined(__GNUC__)
#define BENCH_API __attribute__((visibility("default")))
#else
#define BENCH_API
#endif

#define BENCH_CHAINS 12 /* more than latency times units; fits 16 registers */

typedef float bench_floats __attribute__((vector_size(BENCH_VECTOR_BYTES)));
typedef double bench_doubles __attribute__((vector_size(BENCH_VECTOR_BYTES)));
typedef uint64_t bench_words __attribute__((vector_size(BENCH_VECTOR_BYTES)));

/* Results go here, so that no compiler may leave the work out. */
static volatile double bench_sink;

BENCH_API uint64_t bench_ticks(void);
BENCH_API int32_t bench_threads(void);
BENCH_API int64_t bench_flops_per_round(int32_t item_bytes);
BENCH_API uint64_t bench_flops_float32(int64_t rounds, int32_t threads);
BENCH_API uint64_t bench_flops_float64(int64_t rounds, int32_t threads);
BENCH_API uint64_t bench_read(const void *memory, int64_t bytes, int64_t rounds, int32_t threads);

uint64_t bench_ticks(void) { return bench_now(); }

int32_t bench_threads(void)
{
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return 1;
#endif
}

int64_t bench_flops_per_round(int32_t item_bytes)
{
    return 2 * BENCH_CHAINS * (BENCH_VECTOR_BYTES / item_bytes);
}

/* a = a * x + y in independent chains. The values tend to 1, so none is ever denormal. */
#define BENCH_EACH(of) of(0) of(1) of(2) of(3) of(4) of(5) of(6) of(7) of(8) of(9) of(10) of(11)
#define BENCH_START(k) vector a##k = zero + (1 + k);
#define BENCH_MULTIPLY_ADD(k) a##k = a##k * x + y;
#define BENCH_ADD(k) total += a##k;

#define BENCH_FLOPS(name, element, vectors)                                       \
    static double name##_chains(int64_t rounds, element half)                     \
    {                                                                             \
        typedef vectors vector;                                                   \
        const vector zero = {0}, x = zero + half, y = zero + (1 - half);          \
        vector total = zero;                                                      \
        BENCH_EACH(BENCH_START)                                                   \
        for (int64_t i = 0; i < rounds; i++) {                                    \
            BENCH_EACH(BENCH_MULTIPLY_ADD)                                        \
        }                                                                         \
        BENCH_EACH(BENCH_ADD)                                                     \
        return (double)total[0];                                                  \
    }

BENCH_FLOPS(bench_float32, float, bench_floats)
BENCH_FLOPS(bench_float64, double, bench_doubles)

static volatile double bench_half = 0.5; /* unknown to the compiler */

uint64_t bench_flops_float32(int64_t rounds, int32_t threads)
{
    const float half = (float)bench_half;
    const uint64_t start = bench_now();
    double found = 0;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : found)
#endif
    found += bench_float32_chains(rounds, half);
    bench_sink = found;
    return bench_now() - start;
}

uint64_t bench_flops_float64(int64_t rounds, int32_t threads)
{
    const double half = bench_half;
    const uint64_t start = bench_now();
    double found = 0;
    (void)threads;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : found)
#endif
    found += bench_float64_chains(rounds, half);
    bench_sink = found;
    return bench_now() - start;
}

/* Eight vectors at a time, into as many results. */
static uint64_t bench_stream(const bench_words *memory, int64_t vectors)
{
    bench_words a = {0}, b = {0}, c = {0}, d = {0}, e = {0}, f = {0}, g = {0}, h = {0};
    for (int64_t i = 0; i + 8 <= vectors; i += 8) {
        a ^= memory[i], b ^= memory[i + 1], c ^= memory[i + 2], d ^= memory[i + 3];
        e ^= memory[i + 4], f ^= memory[i + 5], g ^= memory[i + 6], h ^= memory[i + 7];
    }
    a ^= b ^ c ^ d ^ e ^ f ^ g ^ h;
    return a[0];
}

/* Reads `bytes` of memory, `rounds` times over; threads share them in equal parts. */
uint64_t bench_read(const void *memory, int64_t bytes, int64_t rounds, int32_t threads)
{
    const bench_words *const words = memory;
    const int64_t each = bytes / (8 * BENCH_VECTOR_BYTES) / threads * 8;
    const uint64_t start = bench_now();
    uint64_t found = 0;
#ifdef _OPENMP
#pragma omp parallel num_threads(threads) if (threads > 1) reduction(+ : found)
#endif
    {
#ifdef _OPENMP
        const int64_t part = omp_get_thread_num();
#else
        const int64_t part = 0;
#endif
        for (int64_t round = 0; round < rounds; round++) {
            found += bench_stream(words + part * each, each);
#if defined(__GNUC__)
            __asm__ volatile("" : : : "memory"); /* the memory might have changed: read it again */
#endif
        }
    }
    bench_sink = (double)found;
    return bench_now() - start;
}
