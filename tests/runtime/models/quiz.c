/* y = exp(x·z) + x·z/ln(x) + sin(ln(x))/exp(x·z) */
#include "quiz.h"

#include <math.h>

enum { OK, E_INDEX, E_WORKSPACE, E_NO_FORWARD, E_NULL, E_DIM };

/* -DSLOPE=0 makes the gradient wrong, for the test of the gradient check. */
#ifndef SLOPE
#define SLOPE 1
#endif

size_t quiz_workspace_bytes(const quiz_inputs *sizes, int training)
{
    (void)sizes, (void)training;
    return 64;
}

int quiz_predict(const quiz_inputs *inputs, const double *params, const double *state,
                 const quiz_outputs *outputs, const quiz_workspace *workspace)
{
    (void)params, (void)state;
    const double x = *inputs->x, z = *inputs->z;
    *(double *)workspace->memory = 0;
    if (outputs->y) *outputs->y = exp(x * z) + x * z / log(x) + sin(log(x)) / exp(x * z);
    return OK;
}

int quiz_forward(const quiz_inputs *inputs, const double *params, double *state,
                 const quiz_outputs *outputs, const quiz_workspace *workspace)
{
    const int status = quiz_predict(inputs, params, state, outputs, workspace);
    *(double *)workspace->memory = 1;
    return status;
}

int quiz_backward(const quiz_inputs *inputs, const double *params, const quiz_cotangents *cotangents,
                  double *grads, const quiz_input_grads *input_grads, const quiz_workspace *workspace)
{
    (void)params, (void)grads;
    if (*(const double *)workspace->memory != 1) return E_NO_FORWARD;
    const double x = *inputs->x, z = *inputs->z, e = exp(x * z), l = log(x);
    const double dy = !cotangents ? 1 : cotangents->y ? *cotangents->y : 0;
    const double dx = z * e + (z * l - z) / (l * l) + (cos(l) / x - z * sin(l)) / e;
    const double dz = x * e + x / l - x * sin(l) / e;
    if (input_grads->x) *input_grads->x = SLOPE * dy * dx;
    if (input_grads->z) *input_grads->z = dy * dz;
    return OK;
}

const char *quiz_strerror(int status)
{
    return status == E_NO_FORWARD ? "backward without forward" : status ? "failed" : "no error";
}
