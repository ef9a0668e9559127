/* A program of a C user: LeNet-5 through its header and library alone.
 *
 *     c_program PARAMS IMAGES LABELS STEPS
 *
 * The files hold raw arrays. Prints `name value` lines for the Python side to compare; everything
 * that needs no Python to judge is checked here, and a check that fails ends the program. */
#include "lenet5.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 64
#define PIXELS (BATCH * 28 * 28)
#define CLASSES 10

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(LENET5_ALIGNMENT, (bytes + 63) / 64 * 64);
    CHECK(memory != NULL);
    memset(memory, 0, (bytes + 63) / 64 * 64);
    return memory;
}

static void read_array(const char *path, void *into, size_t bytes)
{
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fread(into, 1, bytes, file) == bytes);
    CHECK(fclose(file) == 0);
}

static double sum_of_magnitudes(const float *values, size_t count)
{
    double sum = 0;
    for (size_t k = 0; k < count; ++k) sum += fabs((double)values[k]);
    return sum;
}

static float *params, *state, *grads, *again;
static lenet5_inputs inputs;
static lenet5_workspace workspace;

static void check_workspaces(void)
{
    float loss = -1;
    const lenet5_outputs outputs = {.loss = &loss};
    const lenet5_workspace none = {NULL, workspace.bytes, 0};
    const lenet5_workspace small = {workspace.memory, workspace.bytes - 1, 0};
    const lenet5_workspace odd = {(char *)workspace.memory + 4, workspace.bytes - 4, 0};
    CHECK(lenet5_forward(&inputs, params, state, &outputs, &none) == LENET5_E_WORKSPACE);
    CHECK(lenet5_forward(&inputs, params, state, &outputs, &small) == LENET5_E_WORKSPACE);
    CHECK(lenet5_forward(&inputs, params, state, &outputs, &odd) == LENET5_E_WORKSPACE);
    CHECK(lenet5_forward(&inputs, params, state, &outputs, NULL) == LENET5_E_WORKSPACE);
    CHECK(lenet5_predict(&inputs, params, state, &outputs, &odd) == LENET5_E_WORKSPACE);
    CHECK(lenet5_step(&inputs, params, state, &outputs, &small) == LENET5_E_WORKSPACE);
    CHECK(lenet5_backward(&inputs, params, NULL, grads, NULL, &none) == LENET5_E_WORKSPACE);
    CHECK(loss == -1);
}

static void check_nulls(void)
{
    float loss = -1;
    const lenet5_outputs outputs = {.loss = &loss};
    lenet5_inputs without = inputs;
    without.images = NULL;
    CHECK(lenet5_forward(&without, params, state, &outputs, &workspace) == LENET5_E_NULL);
    without = inputs;
    without.labels = NULL;
    CHECK(lenet5_step(&without, params, state, &outputs, &workspace) == LENET5_E_NULL);
    CHECK(lenet5_forward(&inputs, NULL, state, &outputs, &workspace) == LENET5_E_NULL);
    CHECK(lenet5_step(&inputs, params, NULL, &outputs, &workspace) == LENET5_E_NULL);
    CHECK(lenet5_forward(NULL, params, state, &outputs, &workspace) == LENET5_E_NULL);
    CHECK(loss == -1);
}

/* Labels out of range leave every output, parameter and state as it was. */
static void check_labels(void)
{
    static int32_t labels[BATCH];
    static float logits[BATCH * CLASSES];
    float loss = -1;
    const lenet5_outputs outputs = {.loss = &loss, .logits = logits};
    const double before = sum_of_magnitudes(params, LENET5_PARAM_COUNT);
    lenet5_inputs wrong = inputs;
    wrong.labels = labels;
    for (int bad = 0; bad < 4; ++bad) {
        static const int32_t values[] = {-1, CLASSES, INT32_MIN, INT32_MAX};
        memcpy(labels, inputs.labels, sizeof labels);
        labels[bad % 2 ? BATCH - 1 : 0] = values[bad];
        CHECK(lenet5_predict(&wrong, params, state, &outputs, &workspace) == LENET5_E_INDEX);
        CHECK(lenet5_forward(&wrong, params, state, &outputs, &workspace) == LENET5_E_INDEX);
        CHECK(lenet5_backward(&inputs, params, NULL, grads, NULL, &workspace) ==
              LENET5_E_NO_FORWARD);
        CHECK(lenet5_step(&wrong, params, state, &outputs, &workspace) == LENET5_E_INDEX);
    }
    CHECK(loss == -1);
    CHECK(sum_of_magnitudes(logits, BATCH * CLASSES) == 0);
    CHECK(sum_of_magnitudes(params, LENET5_PARAM_COUNT) == before);
    CHECK(sum_of_magnitudes(state, LENET5_STATE_COUNT) == 0);
}

/* Outputs whose pointer is null are not computed; an input is needed by what is asked for alone. */
static void check_outputs_left_out(void)
{
    static float logits[BATCH * CLASSES], expected[BATCH * CLASSES];
    float loss;
    const lenet5_outputs both = {.loss = &loss, .logits = expected};
    const lenet5_outputs only = {.logits = logits};
    lenet5_inputs unlabelled = inputs;
    unlabelled.labels = NULL;
    const size_t bytes = lenet5_workspace_bytes(&inputs, 0);
    const lenet5_workspace little = {allocate(bytes), bytes, 0};
    CHECK(bytes <= workspace.bytes);
    CHECK(lenet5_predict(&inputs, params, state, &both, &little) == LENET5_OK);
    CHECK(lenet5_predict(&unlabelled, params, state, &both, &little) == LENET5_E_NULL);
    CHECK(lenet5_predict(&unlabelled, params, state, &only, &little) == LENET5_OK);
    CHECK(memcmp(logits, expected, sizeof logits) == 0);
    CHECK(lenet5_predict(&inputs, params, state, NULL, &little) == LENET5_OK);
    /* The same of forward, after which there is no backward; step always needs its loss. */
    memset(logits, 0, sizeof logits);
    CHECK(lenet5_forward(&unlabelled, params, state, &only, &workspace) == LENET5_OK);
    CHECK(memcmp(logits, expected, sizeof logits) == 0);
    CHECK(lenet5_backward(&inputs, params, NULL, grads, NULL, &workspace) ==
          LENET5_E_NO_FORWARD);
    CHECK(lenet5_forward(&unlabelled, params, state, &both, &workspace) == LENET5_E_NULL);
    CHECK(lenet5_step(&unlabelled, params, state, &only, &workspace) == LENET5_E_NULL);
    free(little.memory);
}

static void check_backward(void)
{
    static float logits[BATCH * CLASSES];
    float loss;
    const lenet5_outputs outputs = {.loss = &loss};
    const lenet5_outputs prediction = {.logits = logits};
    const size_t grad_bytes = LENET5_PARAM_COUNT * sizeof(float);
    const float one = 1, two = 2;
    const lenet5_cotangents given = {.loss = &one}, doubled = {.loss = &two}, zero = {0};

    memset(workspace.memory, 0xff, workspace.bytes); /* nothing may be read before it is written */
    CHECK(lenet5_backward(&inputs, params, NULL, grads, NULL, &workspace) == LENET5_E_NO_FORWARD);
    CHECK(lenet5_forward(&inputs, params, state, &outputs, &workspace) == LENET5_OK);
    CHECK(lenet5_backward(&inputs, params, NULL, NULL, NULL, &workspace) == LENET5_E_NULL);
    CHECK(lenet5_backward(&inputs, params, NULL, grads, NULL, &workspace) == LENET5_OK);
    printf("loss %.9g\n", (double)loss);
    printf("gradient %.9g\n", sum_of_magnitudes(grads, LENET5_PARAM_COUNT));

    /* Again: the same bits, whatever the buffer holds. */
    memset(again, 0xff, grad_bytes);
    CHECK(lenet5_backward(&inputs, params, NULL, again, NULL, &workspace) == LENET5_OK);
    CHECK(memcmp(grads, again, grad_bytes) == 0);

    /* Cotangents: 1 for the loss is the default's result, null members are zero, and it is linear. */
    CHECK(lenet5_backward(&inputs, params, &given, again, NULL, &workspace) == LENET5_OK);
    for (int k = 0; k < LENET5_PARAM_COUNT; ++k)
        CHECK(fabsf(again[k] - grads[k]) <= 1e-5f * (fabsf(grads[k]) + 1e-3f));
    CHECK(lenet5_backward(&inputs, params, &doubled, again, NULL, &workspace) == LENET5_OK);
    for (int k = 0; k < LENET5_PARAM_COUNT; ++k)
        CHECK(fabsf(again[k] - 2 * grads[k]) <= 1e-5f * (fabsf(grads[k]) + 1e-3f));
    CHECK(lenet5_backward(&inputs, params, &zero, again, NULL, &workspace) == LENET5_OK);
    CHECK(sum_of_magnitudes(again, LENET5_PARAM_COUNT) == 0);

    /* A prediction in a workspace of its own comes between; in the same one it ends the forward. */
    const lenet5_workspace other = {allocate(workspace.bytes), workspace.bytes, 0};
    CHECK(lenet5_predict(&inputs, params, state, &prediction, &other) == LENET5_OK);
    CHECK(lenet5_backward(&inputs, params, NULL, again, NULL, &workspace) == LENET5_OK);
    CHECK(memcmp(grads, again, grad_bytes) == 0);
    CHECK(lenet5_predict(&inputs, params, state, &prediction, &workspace) == LENET5_OK);
    CHECK(lenet5_backward(&inputs, params, NULL, again, NULL, &workspace) == LENET5_E_NO_FORWARD);
    free(other.memory);
}

static void train(int steps)
{
    float loss = 0;
    const float rate = 0.01f;
    const lenet5_outputs outputs = {.loss = &loss};
    for (int k = 0; k < steps; ++k) {
        CHECK(lenet5_step(&inputs, params, state, &outputs, &workspace) == LENET5_OK);
        printf("step%d %.9g\n", k, (double)loss);
    }
    inputs.lr = &rate;
    CHECK(lenet5_step(&inputs, params, state, NULL, &workspace) == LENET5_OK);
    printf("params %.9g\n", sum_of_magnitudes(params, LENET5_PARAM_COUNT));
}

int main(int argc, char **argv)
{
    static float images[PIXELS];
    static int32_t labels[BATCH];
    CHECK(argc == 5);
    CHECK(LENET5_ABI_VERSION == 1);
    params = allocate(LENET5_PARAM_COUNT * sizeof(float));
    state = allocate(LENET5_STATE_COUNT * sizeof(float));
    grads = allocate(LENET5_PARAM_COUNT * sizeof(float));
    again = allocate(LENET5_PARAM_COUNT * sizeof(float));
    read_array(argv[1], params, LENET5_PARAM_COUNT * sizeof(float));
    read_array(argv[2], images, sizeof images);
    read_array(argv[3], labels, sizeof labels);
    inputs = (lenet5_inputs){.images = images, .labels = labels};
    workspace.bytes = lenet5_workspace_bytes(&inputs, 1);
    CHECK(workspace.bytes == LENET5_ARENA_BYTES_TRAINING);
    workspace.memory = allocate(workspace.bytes);

    check_workspaces();
    check_nulls();
    check_labels();
    check_outputs_left_out();
    check_backward();
    train(atoi(argv[4]));
    for (int status = -1; status < 8; ++status) CHECK(strlen(lenet5_strerror(status)) > 0);

    free(params);
    free(state);
    free(grads);
    free(again);
    free(workspace.memory);
    return 0;
}
