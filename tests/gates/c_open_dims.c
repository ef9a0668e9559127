/* A model with an open dimension, called with sizes inside and outside of its range. */
#include "mlp.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOW 2
#define HIGH 9
#define FEATURES 30
#define CLASSES 5

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static _Alignas(MLP_ALIGNMENT) float params[MLP_PARAM_COUNT], grads[MLP_PARAM_COUNT];
static _Alignas(MLP_ALIGNMENT) char memory[MLP_ARENA_BYTES_TRAINING];
static float x[HIGH * FEATURES], d_x[(HIGH + 1) * FEATURES];
static float probabilities[(HIGH + 1) * CLASSES];
static int32_t labels[HIGH];

static void call_with(int32_t batch, int status)
{
    float loss = -1;
    const mlp_inputs inputs = {.batch = batch, .x = x, .labels = labels};
    const mlp_outputs outputs = {&loss, probabilities};
    const mlp_input_grads input_grads = {d_x};
    const mlp_workspace workspace = {memory, sizeof memory, 0};
    memset(probabilities, 0x7f, sizeof probabilities);
    memset(d_x, 0x7f, sizeof d_x);
    CHECK(mlp_predict(&inputs, params, NULL, &outputs, &workspace) == status);
    CHECK(mlp_forward(&inputs, params, NULL, &outputs, &workspace) == status);
    const int backward = mlp_backward(&inputs, params, NULL, grads, &input_grads, &workspace);
    if (status != MLP_OK) {
        CHECK(backward != MLP_OK);
        CHECK(loss == -1);
        return;
    }
    CHECK(backward == MLP_OK);
    CHECK(mlp_workspace_bytes(&inputs, 1) <= sizeof memory);
    for (int n = 0; n < batch; ++n) {
        float sum = 0;
        for (int k = 0; k < CLASSES; ++k) sum += probabilities[n * CLASSES + k];
        CHECK(fabsf(sum - 1) < 1e-5f);
    }
    /* nothing is written past the batch */
    const unsigned char *after = (const unsigned char *)(probabilities + batch * CLASSES);
    CHECK(after[0] == 0x7f && after[CLASSES * sizeof(float) - 1] == 0x7f);
    after = (const unsigned char *)(d_x + batch * FEATURES);
    CHECK(after[0] == 0x7f && after[FEATURES * sizeof(float) - 1] == 0x7f);
}

int main(void)
{
    for (int k = 0; k < MLP_PARAM_COUNT; ++k) params[k] = (float)sin(k * 0.7);
    for (int k = 0; k < HIGH * FEATURES; ++k) x[k] = (float)cos(k * 1.3);
    for (int k = 0; k < HIGH; ++k) labels[k] = k % CLASSES;
    for (int32_t batch = LOW; batch <= HIGH; ++batch) call_with(batch, MLP_OK);
    call_with(LOW - 1, MLP_E_DIM);
    call_with(HIGH + 1, MLP_E_DIM);
    call_with(0, MLP_E_DIM);
    call_with(-1, MLP_E_DIM);
    call_with(INT32_MAX, MLP_E_DIM);
    puts("done");
    return 0;
}
