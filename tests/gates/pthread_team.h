/* Teams of POSIX threads in place of OpenMP's, for the thread sanitizer, which knows all that these
   do and nothing of what libgomp does. GCC's nested functions stand for the parallel region. */
#include <pthread.h>

static _Thread_local pthread_barrier_t *team_of_this_thread;

static inline int team_limit(int32_t wanted, int32_t most)
{
    const int32_t threads = wanted > 0 ? wanted : 3;
    return most > 0 && threads > most ? most : threads;
}

static inline void team_barrier(int threads)
{
    (void)threads;
#ifndef WITHOUT_WAITS
    pthread_barrier_wait(team_of_this_thread);
#endif
}

#define AUTODIFFC_EACH_THREAD(threads, function, ...)                  \
    {                                                                  \
        pthread_barrier_t barrier;                                     \
        pthread_barrier_init(&barrier, NULL, (unsigned)(threads));     \
        void *run(void *part)                                          \
        {                                                              \
            team_of_this_thread = &barrier;                            \
            function(__VA_ARGS__, (team_part){*(int *)part, threads}); \
            return NULL;                                               \
        }                                                              \
        int parts[64];                                                 \
        pthread_t running[64];                                         \
        for (int k = 0; k < threads; k++) {                            \
            parts[k] = k;                                              \
            pthread_create(&running[k], NULL, run, &parts[k]);         \
        }                                                              \
        for (int k = 0; k < threads; k++) pthread_join(running[k], NULL); \
        pthread_barrier_destroy(&barrier);                             \
    }
