/* z[n] = Σ_k weight[k]·x[n,k] + bias,  loss = mean_n(log(1 + exp(z[n])) − labels[n]·z[n])

   The state `count` counts forwards in training mode; a step is SGD with momentum 0.9. */
#include "logistic.h"

#include <math.h>
#include <string.h>

enum { FEATURES = 3, LARGEST_BATCH = 8 };
enum { WEIGHT = 0, BIAS = 16, PARAMS = 32 };                         /* offsets of parameters */
enum { COUNT = 0, WEIGHT_MOMENTUM = 16, BIAS_MOMENTUM = 32 };        /* offsets of states */
enum { OK, E_INDEX, E_WORKSPACE, E_NO_FORWARD, E_NULL, E_DIM };

static const uint64_t MARK = 0x6175746f64696666u;
static const float DEFAULT_LR = 0.5f;

typedef struct {
    uint64_t forward_done;
    float z[LARGEST_BATCH];
} Memory;

size_t logistic_workspace_bytes(const logistic_inputs *sizes, int training)
{
    (void)training;
    return sizeof(Memory) + 64 * (size_t)sizes->batch; /* a size that depends on the batch */
}

static int check(const logistic_inputs *inputs, const logistic_workspace *workspace)
{
    if (inputs->batch < 1 || inputs->batch > LARGEST_BATCH) return E_DIM;
    if (!workspace->memory || (uintptr_t)workspace->memory % 64
        || workspace->bytes < logistic_workspace_bytes(inputs, 1)) return E_WORKSPACE;
    if (!inputs->x) return E_NULL;
    for (int n = 0; inputs->labels && n < inputs->batch; ++n)
        if (inputs->labels[n] < 0 || inputs->labels[n] > 1) return E_INDEX;
    return OK;
}

static int compute(const logistic_inputs *inputs, const float *params, const logistic_outputs *outputs,
                   Memory *memory)
{
    float loss = 0;
    if (outputs->loss && !inputs->labels) return E_NULL;
    for (int n = 0; n < inputs->batch; ++n) {
        float z = params[BIAS];
        for (int k = 0; k < FEATURES; ++k) z += params[WEIGHT + k] * inputs->x[n * FEATURES + k];
        memory->z[n] = z;
        if (outputs->logits) outputs->logits[n] = z;
        if (outputs->loss) loss += log1pf(expf(z)) - (float)inputs->labels[n] * z;
    }
    if (outputs->loss) *outputs->loss = loss / (float)inputs->batch;
    return OK;
}

int logistic_predict(const logistic_inputs *inputs, const float *params, const float *state,
                     const logistic_outputs *outputs, const logistic_workspace *workspace)
{
    (void)state;
    const int status = check(inputs, workspace);
    if (status) return status;
    ((Memory *)workspace->memory)->forward_done = 0;
    return compute(inputs, params, outputs, workspace->memory);
}

int logistic_forward(const logistic_inputs *inputs, const float *params, float *state,
                     const logistic_outputs *outputs, const logistic_workspace *workspace)
{
    const int status = check(inputs, workspace);
    if (status) return status;
    Memory *memory = workspace->memory;
    const int computed = compute(inputs, params, outputs, memory);
    if (computed) return computed;
    state[COUNT] += 1;
    memory->forward_done = MARK;
    return OK;
}

int logistic_backward(const logistic_inputs *inputs, const float *params,
                      const logistic_cotangents *cotangents, float *grads,
                      const logistic_input_grads *input_grads, const logistic_workspace *workspace)
{
    const int status = check(inputs, workspace);
    if (status) return status;
    const Memory *memory = workspace->memory;
    if (memory->forward_done != MARK) return E_NO_FORWARD;
    const float dloss = !cotangents ? 1 : cotangents->loss ? *cotangents->loss : 0;
    memset(grads, 0, PARAMS * sizeof *grads);
    for (int n = 0; n < inputs->batch; ++n) {
        const float p = 1 / (1 + expf(-memory->z[n]));
        float dz = dloss * (p - (float)inputs->labels[n]) / (float)inputs->batch;
        if (cotangents && cotangents->logits) dz += cotangents->logits[n];
        grads[BIAS] += dz;
        for (int k = 0; k < FEATURES; ++k) {
            grads[WEIGHT + k] += dz * inputs->x[n * FEATURES + k];
            if (input_grads->x) input_grads->x[n * FEATURES + k] = dz * params[WEIGHT + k];
        }
    }
    return OK;
}

int logistic_step(const logistic_inputs *inputs, float *params, float *state,
                  const logistic_outputs *outputs, const logistic_workspace *workspace)
{
    float grads[PARAMS];
    const logistic_input_grads none = {0};
    const int status = logistic_forward(inputs, params, state, outputs, workspace);
    if (status) return status;
    logistic_backward(inputs, params, 0, grads, &none, workspace);
    ((Memory *)workspace->memory)->forward_done = 0;
    const float lr = inputs->lr ? *inputs->lr : DEFAULT_LR;
    for (int k = 0; k < FEATURES; ++k) {
        state[WEIGHT_MOMENTUM + k] = 0.9f * state[WEIGHT_MOMENTUM + k] + grads[WEIGHT + k];
        params[WEIGHT + k] -= lr * state[WEIGHT_MOMENTUM + k];
    }
    state[BIAS_MOMENTUM] = 0.9f * state[BIAS_MOMENTUM] + grads[BIAS];
    params[BIAS] -= lr * state[BIAS_MOMENTUM];
    return OK;
}

const char *logistic_strerror(int status)
{
    static const char *const texts[] = {
        "no error", "an index in the data is out of range", "the workspace does not do",
        "backward without forward", "a required pointer is null", "an open dim is out of range"};
    return status < 0 || status > E_DIM ? "unknown status" : texts[status];
}
