/* --- Kernels --- */

/* y = exp(x*z) + x*z/log(x) + sin(log(x))/exp(x*z) */
static void kernel_y(const float *x, const float *z, float *y)
{
    y[0] = (expf(x[0] * z[0]) + ((x[0] * z[0]) / logf(x[0]))) + (sinf(logf(x[0])) / expf(x[0] * z[0]));
}

/* y_mul = x*z
   y_exp = exp(y_mul)
   y_log = log(x)
   y_div = y_mul/y_log
   y_div_2 = sin(y_log)/y_exp
   y = y_exp + y_div + y_div_2 */
static void kernel_y_2(const float *x, const float *z, float *y_exp_out, float *y_log_out,
    float *y_div_out, float *y_div_2_out, float *y_out)
{
    const float y_mul = x[0] * z[0];
    const float y_exp = expf(y_mul);
    const float y_log = logf(x[0]);
    const float y_div = y_mul / y_log;
    const float y_div_2 = sinf(y_log) / y_exp;
    const float y = (y_exp + y_div) + y_div_2;
    y_exp_out[0] = y_exp;
    y_log_out[0] = y_log;
    y_div_out[0] = y_div;
    y_div_2_out[0] = y_div_2;
    y_out[0] = y;
}

/* d_y_mul_3 = -y_div_2/y_exp*y_exp */
static void kernel_d_y_mul_3(const float *y_exp, const float *y_div_2, float *d_y_mul_3)
{
    d_y_mul_3[0] = -((y_div_2[0] / y_exp[0]) * y_exp[0]);
}

/* d_y_mul_2 = 1/y_log
   add = d_y_mul_3*z + 1/y_exp*cos(y_log)/x - y_div/y_log/x + d_y_mul_2*z + y_exp*z
   add_2 = d_y_mul_3*x + d_y_mul_2*x + y_exp*x */
static void kernel_add(const float *y_log, const float *z, const float *d_y_mul_3, const float *x,
    const float *y_exp, const float *y_div, float *add_out, float *add_out_2)
{
    const float d_y_mul_2 = 1.0f / y_log[0];
    const float add = ((((d_y_mul_3[0] * z[0]) + (((1.0f / y_exp[0]) * cosf(y_log[0])) * (1.0f / x[0]))) - ((y_div[0] / y_log[0]) * (1.0f / x[0]))) + (d_y_mul_2 * z[0])) + (y_exp[0] * z[0]);
    const float add_2 = ((d_y_mul_3[0] * x[0]) + (d_y_mul_2 * x[0])) + (y_exp[0] * x[0]);
    add_out[0] = add;
    add_out_2[0] = add_2;
}

/* d_y_mul_3 = -y_div_2/y_exp*cotangent_y*y_exp
   d_y_mul_2 = cotangent_y/y_log
   d_y_mul = cotangent_y*y_exp
   add = d_y_mul_3*z + cotangent_y/y_exp*cos(y_log)/x - y_div/y_log*cotangent_y/x + d_y_mul_2*z +
   d_y_mul*z
   add_2 = d_y_mul_3*x + d_y_mul_2*x + d_y_mul*x */
static void kernel_add_2(const float *y_exp, const float *cotangent_y, const float *y_div_2,
    const float *y_log, const float *z, const float *x, const float *y_div, float *add_out,
    float *add_out_2)
{
    const float d_y_mul_3 = -(((y_div_2[0] / y_exp[0]) * cotangent_y[0]) * y_exp[0]);
    const float d_y_mul_2 = cotangent_y[0] * (1.0f / y_log[0]);
    const float d_y_mul = cotangent_y[0] * y_exp[0];
    const float add = ((((d_y_mul_3 * z[0]) + (((cotangent_y[0] * (1.0f / y_exp[0])) * cosf(y_log[0])) * (1.0f / x[0]))) - (((y_div[0] / y_log[0]) * cotangent_y[0]) * (1.0f / x[0]))) + (d_y_mul_2 * z[0])) + (d_y_mul * z[0]);
    const float add_2 = ((d_y_mul_3 * x[0]) + (d_y_mul_2 * x[0])) + (d_y_mul * x[0]);
    add_out[0] = add;
    add_out_2[0] = add_2;
}

