/* --- Loops: pragmas that vanish where OpenMP is off, and bounds of guarded loops --- */

#define AUTODIFFC_PRAGMA(text) _Pragma(#text)
#if defined(_OPENMP) || defined(AUTODIFFC_OMP_SIMD)
#define AUTODIFFC_SIMD AUTODIFFC_PRAGMA(omp simd)
#define AUTODIFFC_SIMD_SUM(sum) AUTODIFFC_PRAGMA(omp simd reduction(+ : sum))
#else
#define AUTODIFFC_SIMD
#define AUTODIFFC_SIMD_SUM(sum)
#endif

/* Compilers warn that wide vectors are passed differently from one processor to the next: never
   across the border of this file, where all functions that take them are static. (GCC's note that
   this changed in GCC 4.6 comes without -march all the same; it is no warning, and -Wno-psabi on the
   command line silences it.) Clang also warns of a simd loop that it leaves as it is, which is no
   mistake. */
#if defined(__clang__)
#if __has_warning("-Wpsabi")
#pragma clang diagnostic ignored "-Wpsabi"
#endif
#pragma clang diagnostic ignored "-Wpass-failed"
#elif defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#if defined(__GNUC__)
#define AUTODIFFC_MAY_BE_UNUSED __attribute__((unused))
#else
#define AUTODIFFC_MAY_BE_UNUSED
#endif

/* Says that a vector of so many bytes may have changed, so that it stays in its register. */
#if defined(__GNUC__) && defined(__AVX512F__)
#define AUTODIFFC_KEEP_64(v) __asm__("" : "+v"(v))
#else
#define AUTODIFFC_KEEP_64(v) (void)0
#endif
#if defined(__GNUC__) && defined(__AVX512VL__)
#define AUTODIFFC_KEEP_32(v) __asm__("" : "+v"(v))
#define AUTODIFFC_KEEP_16(v) __asm__("" : "+v"(v))
#elif defined(__GNUC__) && defined(__AVX__)
#define AUTODIFFC_KEEP_32(v) __asm__("" : "+x"(v))
#define AUTODIFFC_KEEP_16(v) __asm__("" : "+x"(v))
#elif defined(__GNUC__) && defined(__SSE2__)
#define AUTODIFFC_KEEP_32(v) (void)0
#define AUTODIFFC_KEEP_16(v) __asm__("" : "+x"(v))
#elif defined(__GNUC__) && defined(__aarch64__)
#define AUTODIFFC_KEEP_32(v) (void)0
#define AUTODIFFC_KEEP_16(v) __asm__("" : "+w"(v))
#else
#define AUTODIFFC_KEEP_32(v) (void)0
#define AUTODIFFC_KEEP_16(v) (void)0
#endif

/* { v[first index], v[second index], … }; `ints` is the vector type of the indices. CHOOSE has the
   elements of b behind those of a. */
#if defined(__clang__)
#define AUTODIFFC_SHUFFLE(v, ints, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#define AUTODIFFC_CHOOSE(a, b, ints, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define AUTODIFFC_SHUFFLE(v, ints, ...) __builtin_shuffle(v, (ints){__VA_ARGS__})
#define AUTODIFFC_CHOOSE(a, b, ints, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

AUTODIFFC_MAY_BE_UNUSED static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
AUTODIFFC_MAY_BE_UNUSED static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* a / k rounded down and up, for k > 0 */
AUTODIFFC_MAY_BE_UNUSED static inline int64_t floor_div(int64_t a, int64_t k)
{
    return a / k - (a % k < 0);
}
AUTODIFFC_MAY_BE_UNUSED static inline int64_t ceil_div(int64_t a, int64_t k)
{
    return a / k + (a % k > 0);
}
