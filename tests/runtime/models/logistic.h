/* Logistic regression, written by hand after the C interface that the compiler promises. */
#ifndef LOGISTIC_H
#define LOGISTIC_H
#include <stddef.h>
#include <stdint.h>

typedef struct { int32_t batch; const float *x; const int32_t *labels; const float *lr; uint64_t seed; } logistic_inputs;
typedef struct { void *memory; size_t bytes; int32_t threads; } logistic_workspace;
typedef struct { float *loss; float *logits; } logistic_outputs;
typedef struct { const float *loss; const float *logits; } logistic_cotangents;
typedef struct { float *x; } logistic_input_grads;

size_t logistic_workspace_bytes(const logistic_inputs *sizes, int training);
int logistic_predict(const logistic_inputs *inputs, const float *params, const float *state, const logistic_outputs *outputs, const logistic_workspace *workspace);
int logistic_forward(const logistic_inputs *inputs, const float *params, float *state, const logistic_outputs *outputs, const logistic_workspace *workspace);
int logistic_backward(const logistic_inputs *inputs, const float *params, const logistic_cotangents *cotangents, float *grads, const logistic_input_grads *input_grads, const logistic_workspace *workspace);
int logistic_step(const logistic_inputs *inputs, float *params, float *state, const logistic_outputs *outputs, const logistic_workspace *workspace);
const char *logistic_strerror(int status);
#endif
