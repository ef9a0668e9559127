/* Calls of a C user's from several places: alone, from threads of his own, and in a forked child. */
#include "total.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT (1 << 17)

static float x[COUNT];

static float total(int threads)
{
    void *memory = aligned_alloc(TOTAL_ALIGNMENT, TOTAL_ARENA_BYTES_PREDICT + 64u);
    float y = -1;
    const total_inputs inputs = {.x = x};
    const total_outputs outputs = {.y = &y};
    const total_workspace workspace = {memory, TOTAL_ARENA_BYTES_PREDICT, threads};
    if (total_predict(&inputs, NULL, NULL, &outputs, &workspace) != TOTAL_OK) y = -2;
    free(memory);
    return y;
}

int main(void)
{
    for (int i = 0; i < COUNT; i++) x[i] = (float)i / COUNT;
    const int most = omp_get_max_threads();
    const float expected = total(1);
    if (total(4) != expected || total(0) != expected) return 1;

    int wrong = 0;
#pragma omp parallel num_threads(3) reduction(+ : wrong)
    wrong += total(4) != expected;
    if (wrong || omp_get_max_threads() != most) return 2;

    const pid_t child = fork();
    if (child == 0) {
        alarm(60); /* where the call hangs, this ends it */
        _exit(total(4) != expected);
    }
    int status = -1;
    if (waitpid(child, &status, 0) != child || status != 0) return 3;
    if (total(4) != expected) return 4;
    printf("done\n");
    return 0;
}
