/* --- Threads: all of a team run the same calls, and share the loops of some kernels --- */

/* One thread of a team: its number, and how many there are. */
typedef struct {
    int part, parts;
} team_part;

AUTODIFFC_MAY_BE_UNUSED static const team_part one_thread = {0, 1};

/* AUTODIFFC_TEAM may name a header that makes teams without OpenMP: team_limit, team_barrier and
   AUTODIFFC_EACH_THREAD(threads, function, arguments …) as they are below. */
#if defined(AUTODIFFC_TEAM)
#include AUTODIFFC_TEAM
#elif defined(_OPENMP)
/* A process that was forked has none of its parent's threads, for which OpenMP would wait forever. */
static int team_is_gone;
#if defined(__GNUC__) && (defined(__unix__) || defined(__APPLE__))
extern int pthread_atfork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));
static void team_after_fork(void) { team_is_gone = 1; }
__attribute__((constructor)) static void team_watch_forks(void)
{
    pthread_atfork(NULL, NULL, team_after_fork);
}
#endif

/* How many threads a call may use: what the workspace asks for, at most what was compiled for. In a
   parallel region of the caller's, and in a forked process, there is one. */
AUTODIFFC_MAY_BE_UNUSED static inline int team_limit(int32_t wanted, int32_t most)
{
    if (team_is_gone || omp_in_parallel()) return 1;
    const int32_t threads = wanted > 0 ? wanted : omp_get_max_threads();
    return most > 0 && threads > most ? most : threads;
}
AUTODIFFC_MAY_BE_UNUSED static inline void team_barrier(int threads)
{
    (void)threads;
    AUTODIFFC_PRAGMA(omp barrier)
}
#define AUTODIFFC_EACH_THREAD(threads, function, ...)     \
    AUTODIFFC_PRAGMA(omp parallel num_threads(threads))   \
    function(__VA_ARGS__, (team_part){omp_get_thread_num(), omp_get_num_threads()});
#else
AUTODIFFC_MAY_BE_UNUSED static inline int team_limit(int32_t wanted, int32_t most)
{
    (void)wanted;
    (void)most;
    return 1;
}
AUTODIFFC_MAY_BE_UNUSED static inline void team_barrier(int threads) { (void)threads; }
#define AUTODIFFC_EACH_THREAD(threads, function, ...) (void)0;
#endif

/* Calls a function once for each thread of a team, and with one thread as any other. */
#define AUTODIFFC_RUN(threads, function, ...)                        \
    if (threads > 1) {                                               \
        AUTODIFFC_EACH_THREAD(threads, function, __VA_ARGS__)        \
    } else {                                                         \
        function(__VA_ARGS__, one_thread);                           \
    }

/* What a team gains by sharing a kernel: its work, if threads share so little, less what that costs. */
AUTODIFFC_MAY_BE_UNUSED static inline int64_t team_gain(int64_t work, int64_t gate, int64_t cost)
{
    return work < gate ? 0 : work - cost;
}

/* For functions that are to be there once, not again for a single thread. */
#if defined(__clang__)
#define AUTODIFFC_ONCE __attribute__((noinline))
#elif defined(__GNUC__)
#define AUTODIFFC_ONCE __attribute__((noinline, noclone))
#else
#define AUTODIFFC_ONCE
#endif

/* Waits until all threads of the team have come here. */
AUTODIFFC_MAY_BE_UNUSED static inline void team_wait(team_part team)
{
    if (team.parts > 1) team_barrier(team.parts);
}

/* Whether a thread has a part in a kernel: with little work in it, the first one does it all. */
AUTODIFFC_MAY_BE_UNUSED static inline int takes_part(team_part *team, int enough_work)
{
    if (!enough_work) team->parts = 1;
    return team->part < team->parts;
}

/* A thread's part of the iterations from start to stop: whole units of them, in order, and with the
   last unit what is left. */
typedef struct {
    int64_t start, stop;
} loop_part;

AUTODIFFC_MAY_BE_UNUSED static inline loop_part part_of(
    int64_t start, int64_t stop, int64_t unit, team_part team)
{
    const int64_t units = larger((stop - start) / unit, 1);
    const int64_t each = units / team.parts, more = units % team.parts;
    const int64_t first = team.part * each + smaller(team.part, more);
    const int64_t last = first + each + (team.part < more);
    const loop_part mine = {start + first * unit, last == units ? stop : start + last * unit};
    return first < last ? mine : (loop_part){0, 0};
}

AUTODIFFC_MAY_BE_UNUSED static inline void zero_part(void *memory, size_t bytes, team_part team)
{
    const loop_part mine = part_of(0, (int64_t)bytes, 64, team);
    memset((char *)memory + mine.start, 0, (size_t)(mine.stop - mine.start));
}

AUTODIFFC_MAY_BE_UNUSED static inline void copy_part(
    void *target, const void *source, size_t bytes, team_part team)
{
    const loop_part mine = part_of(0, (int64_t)bytes, 64, team);
    memcpy((char *)target + mine.start, (const char *)source + mine.start,
        (size_t)(mine.stop - mine.start));
}
