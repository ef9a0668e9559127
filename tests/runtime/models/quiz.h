/* The calculus quiz, written by hand after the C interface that the compiler promises. */
#ifndef QUIZ_H
#define QUIZ_H
#include <stddef.h>
#include <stdint.h>

typedef struct { const double *x; const double *z; uint64_t seed; } quiz_inputs;
typedef struct { void *memory; size_t bytes; int32_t threads; } quiz_workspace;
typedef struct { double *y; } quiz_outputs;
typedef struct { const double *y; } quiz_cotangents;
typedef struct { double *x; double *z; } quiz_input_grads;

size_t quiz_workspace_bytes(const quiz_inputs *sizes, int training);
int quiz_predict(const quiz_inputs *inputs, const double *params, const double *state, const quiz_outputs *outputs, const quiz_workspace *workspace);
int quiz_forward(const quiz_inputs *inputs, const double *params, double *state, const quiz_outputs *outputs, const quiz_workspace *workspace);
int quiz_backward(const quiz_inputs *inputs, const double *params, const quiz_cotangents *cotangents, double *grads, const quiz_input_grads *input_grads, const quiz_workspace *workspace);
const char *quiz_strerror(int status);
#endif
