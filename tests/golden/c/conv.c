/* --- Kernels --- */

/* x_halo[i,j,k+1,l+1] = x[i,j,k,l] */
static void kernel_x_halo(const float *restrict x, float *restrict x_halo)
{
    memset(x_halo, 0, (size_t)400 * sizeof *x_halo);
    for (int64_t ij = 0; ij < 4; ++ij) {
        for (int64_t k = 0; k < 8; ++k) {
            AUTODIFFC_SIMD
            for (int64_t l = 0; l < 8; ++l) {
                x_halo[100 * ij + 10 * k + l + 11] = x[64 * ij + 8 * k + l];
            }
        }
    }
}

/* h_relu[n,o,i,j] = relu(sum over c,p,q of w[o,c,p,q]*x_halo[n,c,i+p,j+q]) */
static void kernel_h_relu(const float *restrict w, const float *restrict x_halo,
    float *restrict h_relu)
{
    for (int64_t o = 0; o < 3; ++o) {
        for (int64_t n = 0; n < 2; ++n) {
            for (int64_t i = 0; i < 8; i += 4) {
                f32x8 sum_0_0 = {0}, sum_1_0 = {0}, sum_2_0 = {0}, sum_3_0 = {0};
                for (int64_t c = 0; c < 2; ++c) {
                    for (int64_t p = 0; p < 3; ++p) {
                        for (int64_t q = 0; q < 3; ++q) {
                            const f32x8 w_0 = splat_kept_f32x8(w[18 * o + 9 * c + 3 * p + q]);
                            const float *const x_halo_at0 = x_halo + 200 * n + 10 * i + 100 * c + 10 * p + q;
                            const f32x8 x_halo_1 = load_f32x8(x_halo_at0);
                            const f32x8 x_halo_2 = load_f32x8(x_halo_at0 + 10);
                            const f32x8 x_halo_3 = load_f32x8(x_halo_at0 + 20);
                            const f32x8 x_halo_4 = load_f32x8(x_halo_at0 + 30);
                            sum_0_0 += w_0 * x_halo_1;
                            sum_1_0 += w_0 * x_halo_2;
                            sum_2_0 += w_0 * x_halo_3;
                            sum_3_0 += w_0 * x_halo_4;
                        }
                    }
                }
                float *const h_relu_at1 = h_relu + 192 * n + 64 * o + 8 * i;
                store_f32x8(h_relu_at1, relu_f32x8(sum_0_0));
                store_f32x8(h_relu_at1 + 8, relu_f32x8(sum_1_0));
                store_f32x8(h_relu_at1 + 16, relu_f32x8(sum_2_0));
                store_f32x8(h_relu_at1 + 24, relu_f32x8(sum_3_0));
            }
        }
    }
}

/* mul[n,c,i,j] = (max over p,q of h_relu[n,c,2*i+p,2*j+q])*(max over p,q of
   h_relu[n,c,2*i+p,2*j+q]) */
static void kernel_mul(const float *restrict h_relu, float *restrict mul)
{
    for (int64_t nci = 0; nci < 24; ++nci) {
        AUTODIFFC_SIMD
        for (int64_t j = 0; j < 4; ++j) {
            float best = -INFINITY;
            for (int64_t p = 0; p < 2; ++p) {
                for (int64_t q = 0; q < 2; ++q) {
                    const float v = h_relu[16 * nci + 2 * j + 8 * p + q];
                    best = ((v > best) | (v != v)) ? v : best;
                }
            }
            mul[4 * nci + j] = best * best;
        }
    }
}

/* loss = sum over i,j,k,l of mul[i,j,k,l] */
static void kernel_loss(const float *restrict mul, float *restrict loss)
{
    f32x8 sum_0 = {0};
    for (int64_t ijkl = 0; ijkl < 96; ijkl += 8) {
        const f32x8 mul_0 = load_f32x8(mul + ijkl);
        sum_0 += mul_0;
    }
    loss[0] = lane_sum_f32x8(sum_0);
}

/* h_out[n,c,i,j] = max over p,q of h_relu[n,c,2*i+p,2*j+q]
   argmax_pool2d_out[n,c,i,j] = argmax over p,q of h_relu[n,c,2*i+p,2*j+q] */
static void kernel_argmax_pool2d(const float *restrict h_relu, float *restrict h_out,
    uint8_t *restrict argmax_pool2d_out)
{
    for (int64_t nci = 0; nci < 24; ++nci) {
        AUTODIFFC_SIMD
        for (int64_t j = 0; j < 4; ++j) {
            float best = -INFINITY;
            int32_t at = 0;
            for (int64_t p = 2; p-- > 0;) {
                for (int64_t q = 2; q-- > 0;) {
                    const float v = h_relu[16 * nci + 2 * j + 8 * p + q];
                    const int wins = (v >= best) | (v != v);
                    best = wins ? v : best;
                    at = wins ? (int32_t)(2 * p + q) : at;
                }
            }
            h_out[4 * nci + j] = best;
            argmax_pool2d_out[4 * nci + j] = at;
        }
    }
}

/* loss = sum over i,j,k,l of h[i,j,k,l]*h[i,j,k,l] */
static void kernel_loss_2(const float *restrict h, float *restrict loss)
{
    f32x8 sum_0 = {0};
    for (int64_t ijkl = 0; ijkl < 96; ijkl += 8) {
        const f32x8 h_0 = load_f32x8(h + ijkl);
        sum_0 += h_0 * h_0;
    }
    loss[0] = lane_sum_f32x8(sum_0);
}

/* d_h_masked[i,j,k,l] = where(h[i,j,k,l] <= 0, 0, h[i,j,k,l] + h[i,j,k,l]) */
static void kernel_d_h_masked(const float *h, float *d_h_masked)
{
    for (int64_t ijkl = 0; ijkl < 96; ijkl += 8) {
        const f32x8 h_0 = load_f32x8(h + ijkl);
        store_f32x8(d_h_masked + ijkl, select_f32x8(h_0 <= splat_f32x8(0.0f), splat_f32x8(0.0f), h_0 + h_0));
    }
}

/* d_h_conv2d[n,c,2*i+p,2*j+q+1] = where(int32(argmax_pool2d[n,c,i,j]) == 2*p + q,
   d_h_masked[n,c,i,j], 0) */
static void kernel_d_h_conv2d(const float *restrict d_h_masked,
    const uint8_t *restrict argmax_pool2d, float *restrict d_h_conv2d)
{
    memset(d_h_conv2d, 0, (size_t)480 * sizeof *d_h_conv2d);
    for (int64_t nci = 0; nci < 24; ++nci) {
        for (int64_t p = 0; p < 2; ++p) {
            AUTODIFFC_SIMD
            for (int64_t j = 0; j < 4; ++j) {
                for (int64_t q = 0; q < 2; ++q) {
                    const float operand0 = d_h_masked[4 * nci + j];
                    d_h_conv2d[20 * nci + 10 * p + 2 * j + q + 1] = ((int32_t)argmax_pool2d[4 * nci + j] == (((int32_t)(p) * 2) + (int32_t)(q))) ? operand0 : 0.0f;
                }
            }
        }
    }
}

/* d_w[o,c,p,q] = sum over n,i,j where 0 <= p+i-1 < 8 of d_h_conv2d[n,o,i,j+1]*x_halo[n,c,p+i,q+j] */
static void kernel_d_w(const float *restrict x_halo, const float *restrict d_h_conv2d,
    float *restrict d_w)
{
    for (int64_t p = 0; p < 3; ++p) {
        for (int64_t o_block = 0; o_block < 3; o_block += 2) {
            const int64_t o = smaller(o_block, 1);
            for (int64_t q = 0; q < 3; ++q) {
                f32x8 sum_0_0_0 = {0}, sum_0_1_0 = {0}, sum_1_0_0 = {0}, sum_1_1_0 = {0};
                for (int64_t n = 0; n < 2; ++n) {
                    const int64_t i_end = smaller(8, -p + 9);
                    for (int64_t i = larger(0, -p + 1); i < i_end; ++i) {
                        const f32x8 x_halo_0 = load_kept_f32x8(x_halo + 10 * p + q + 200 * n + 10 * i);
                        const f32x8 d_h_conv2d_1 = load_kept_f32x8(d_h_conv2d + 80 * o + 240 * n + 10 * i + 1);
                        const f32x8 x_halo_2 = load_kept_f32x8(x_halo + 10 * p + q + 200 * n + 10 * i + 100);
                        const f32x8 d_h_conv2d_3 = load_kept_f32x8(d_h_conv2d + 80 * o + 240 * n + 10 * i + 81);
                        sum_0_0_0 += d_h_conv2d_1 * x_halo_0;
                        sum_0_1_0 += d_h_conv2d_1 * x_halo_2;
                        sum_1_0_0 += d_h_conv2d_3 * x_halo_0;
                        sum_1_1_0 += d_h_conv2d_3 * x_halo_2;
                    }
                }
                float *const d_w_at0 = d_w + 18 * o + 3 * p + q;
                d_w_at0[0] = lane_sum_f32x8(sum_0_0_0);
                d_w_at0[9] = lane_sum_f32x8(sum_0_1_0);
                d_w_at0[18] = lane_sum_f32x8(sum_1_0_0);
                d_w_at0[27] = lane_sum_f32x8(sum_1_1_0);
            }
        }
    }
}

/* d_x[n,c,h,w] = sum over p,q,o where 0 <= h-p+1 < 8 of d_h_conv2d[n,o,h-p+1,w-q+2]*w[o,c,p,q] */
static void kernel_d_x(const float *restrict w, const float *restrict d_h_conv2d,
    float *restrict d_x)
{
    for (int64_t h = 0; h < 8; ++h) {
        f32x8 sum_0_0_0 = {0}, sum_0_1_0 = {0}, sum_1_0_0 = {0}, sum_1_1_0 = {0};
        const int64_t p_end = smaller(3, h + 2);
        for (int64_t p = larger(0, h - 6); p < p_end; ++p) {
            for (int64_t q = 0; q < 3; ++q) {
                for (int64_t o = 0; o < 3; ++o) {
                    const f32x8 w_0 = splat_kept_f32x8(w[3 * p + q + 18 * o]);
                    const f32x8 d_h_conv2d_1 = load_kept_f32x8(d_h_conv2d + 10 * h - 10 * p - q + 80 * o + 12);
                    const f32x8 w_2 = splat_kept_f32x8(w[3 * p + q + 18 * o + 9]);
                    const f32x8 d_h_conv2d_3 = load_kept_f32x8(d_h_conv2d + 10 * h - 10 * p - q + 80 * o + 252);
                    sum_0_0_0 += d_h_conv2d_1 * w_0;
                    sum_0_1_0 += d_h_conv2d_1 * w_2;
                    sum_1_0_0 += d_h_conv2d_3 * w_0;
                    sum_1_1_0 += d_h_conv2d_3 * w_2;
                }
            }
        }
        store_f32x8(d_x + 8 * h, sum_0_0_0);
        store_f32x8(d_x + 8 * h + 64, sum_0_1_0);
        store_f32x8(d_x + 8 * h + 128, sum_1_0_0);
        store_f32x8(d_x + 8 * h + 192, sum_1_1_0);
    }
}

/* d_h_masked[i,j,k,l] = where(h[i,j,k,l] <= 0, 0, cotangent_loss*(h[i,j,k,l] + h[i,j,k,l])) */
static void kernel_d_h_masked_2(const float *h, const float *cotangent_loss, float *d_h_masked)
{
    for (int64_t ijkl = 0; ijkl < 96; ijkl += 8) {
        const f32x8 h_0 = load_f32x8(h + ijkl);
        const float operand0 = cotangent_loss[0];
        store_f32x8(d_h_masked + ijkl, select_f32x8(h_0 <= splat_f32x8(0.0f), splat_f32x8(0.0f), operand0 * (h_0 + h_0)));
    }
}

