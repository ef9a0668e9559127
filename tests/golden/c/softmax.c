/* --- Kernels --- */

/* labels = labels where 0 <= labels < 10 */
static int kernel_loss_cross_entropy_7(const int32_t *restrict labels)
{
    for (int64_t i = 0; i < 4; ++i) {
        const int64_t value = labels[i];
        if (value < 0 || -value + 9 < 0) return 1;
    }
    return 0;
}

/* loss_cross_entropy[i,one0] = max over j of x[i,j] */
static void kernel_loss_cross_entropy(const float *restrict x, float *restrict loss_cross_entropy)
{
    for (int64_t i = 0; i < 4; ++i) {
        AUTODIFFC_SIMD
        for (int64_t one0 = 0; one0 < 1; ++one0) {
            float best = -INFINITY;
            for (int64_t j = 0; j < 10; ++j) {
                const float v = x[10 * i + j];
                best = ((v > best) | (v != v)) ? v : best;
            }
            loss_cross_entropy[i + one0] = best;
        }
    }
}

/* loss_cross_entropy_3[i,j] = x[i,j] - loss_cross_entropy[i,0]
   loss_cross_entropy_4[i,j] = exp(loss_cross_entropy_3[i,j]) */
static void kernel_loss_cross_entropy_4(const float *x, const float *loss_cross_entropy,
    float *loss_cross_entropy_3_out, float *loss_cross_entropy_4_out)
{
    for (int64_t i = 0; i < 4; ++i) {
        {
            const f32x8 loss_cross_entropy_3 = load_f32x8(x + 10 * i) - splat_f32x8(loss_cross_entropy[i]);
            const f32x8 loss_cross_entropy_4 = exp_f32x8(loss_cross_entropy_3);
            store_f32x8(loss_cross_entropy_3_out + 10 * i, loss_cross_entropy_3);
            store_f32x8(loss_cross_entropy_4_out + 10 * i, loss_cross_entropy_4);
        }
        {
            const f32x8 loss_cross_entropy_3 = load_part_f32x8(x + 10 * i + 8, 2) - splat_f32x8(loss_cross_entropy[i]);
            const f32x8 loss_cross_entropy_4 = exp_f32x8(loss_cross_entropy_3);
            store_part_f32x8(loss_cross_entropy_3_out + 10 * i + 8, loss_cross_entropy_3, 2);
            store_part_f32x8(loss_cross_entropy_4_out + 10 * i + 8, loss_cross_entropy_4, 2);
        }
    }
}

/* loss_cross_entropy_8[i] = sum over j of where(j == labels[i], loss_cross_entropy_3[i,j], 0) */
static void kernel_loss_cross_entropy_8(const float *restrict loss_cross_entropy_3,
    const int32_t *restrict labels, float *restrict loss_cross_entropy_8)
{
    AUTODIFFC_SIMD
    for (int64_t i = 0; i < 4; ++i) {
        float acc = 0.0f;
        AUTODIFFC_SIMD_SUM(acc)
        for (int64_t j = 0; j < 10; ++j) {
            const float operand0 = loss_cross_entropy_3[10 * i + j];
            acc += ((int32_t)(j) == labels[i]) ? operand0 : 0.0f;
        }
        loss_cross_entropy_8[i] = acc;
    }
}

/* loss_cross_entropy_9[i] = log(sum over j of loss_cross_entropy_4[i,j]) - loss_cross_entropy_8[i] */
static void kernel_loss_cross_entropy_9(const float *restrict loss_cross_entropy_4,
    const float *restrict loss_cross_entropy_8, float *restrict loss_cross_entropy_9)
{
    f32x8 sum_0_0 = {0};
    f32x8 sum_1_0 = {0};
    f32x8 sum_2_0 = {0};
    f32x8 sum_3_0 = {0};
    {
        const f32x8 loss_cross_entropy_4_0 = load_f32x8(loss_cross_entropy_4);
        const f32x8 loss_cross_entropy_4_1 = load_f32x8(loss_cross_entropy_4 + 10);
        const f32x8 loss_cross_entropy_4_2 = load_f32x8(loss_cross_entropy_4 + 20);
        const f32x8 loss_cross_entropy_4_3 = load_f32x8(loss_cross_entropy_4 + 30);
        sum_0_0 += loss_cross_entropy_4_0;
        sum_1_0 += loss_cross_entropy_4_1;
        sum_2_0 += loss_cross_entropy_4_2;
        sum_3_0 += loss_cross_entropy_4_3;
    }
    {
        const f32x8 loss_cross_entropy_4_0 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 2) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const f32x8 loss_cross_entropy_4_1 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 12) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const f32x8 loss_cross_entropy_4_2 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 22) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const f32x8 loss_cross_entropy_4_3 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 32) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        sum_0_0 += loss_cross_entropy_4_0;
        sum_1_0 += loss_cross_entropy_4_1;
        sum_2_0 += loss_cross_entropy_4_2;
        sum_3_0 += loss_cross_entropy_4_3;
    }
    loss_cross_entropy_9[0] = logf(lane_sum_f32x8(sum_0_0)) - loss_cross_entropy_8[0];
    loss_cross_entropy_9[1] = logf(lane_sum_f32x8(sum_1_0)) - loss_cross_entropy_8[1];
    loss_cross_entropy_9[2] = logf(lane_sum_f32x8(sum_2_0)) - loss_cross_entropy_8[2];
    loss_cross_entropy_9[3] = logf(lane_sum_f32x8(sum_3_0)) - loss_cross_entropy_8[3];
}

/* loss = (sum over i of loss_cross_entropy_9[i])*0.25 */
static void kernel_loss(const float *restrict loss_cross_entropy_9, float *restrict loss)
{
    f32x4 sum_0 = {0};
    const f32x4 loss_cross_entropy_9_0 = load_f32x4(loss_cross_entropy_9);
    sum_0 += loss_cross_entropy_9_0;
    loss[0] = lane_sum_f32x4(sum_0) * 0.25f;
}

/* softmax_5[i,one0] = sum over j of loss_cross_entropy_4[i,j] */
static void kernel_softmax_5(const float *restrict loss_cross_entropy_4, float *restrict softmax_5)
{
    f32x8 sum_0_0 = {0};
    f32x8 sum_1_0 = {0};
    f32x8 sum_2_0 = {0};
    f32x8 sum_3_0 = {0};
    {
        const f32x8 loss_cross_entropy_4_0 = load_f32x8(loss_cross_entropy_4);
        const f32x8 loss_cross_entropy_4_1 = load_f32x8(loss_cross_entropy_4 + 10);
        const f32x8 loss_cross_entropy_4_2 = load_f32x8(loss_cross_entropy_4 + 20);
        const f32x8 loss_cross_entropy_4_3 = load_f32x8(loss_cross_entropy_4 + 30);
        sum_0_0 += loss_cross_entropy_4_0;
        sum_1_0 += loss_cross_entropy_4_1;
        sum_2_0 += loss_cross_entropy_4_2;
        sum_3_0 += loss_cross_entropy_4_3;
    }
    {
        const f32x8 loss_cross_entropy_4_0 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 2) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const f32x8 loss_cross_entropy_4_1 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 12) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const f32x8 loss_cross_entropy_4_2 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 22) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const f32x8 loss_cross_entropy_4_3 = (f32x8)((i32x8)load_f32x8(loss_cross_entropy_4 + 32) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        sum_0_0 += loss_cross_entropy_4_0;
        sum_1_0 += loss_cross_entropy_4_1;
        sum_2_0 += loss_cross_entropy_4_2;
        sum_3_0 += loss_cross_entropy_4_3;
    }
    softmax_5[0] = lane_sum_f32x8(sum_0_0);
    softmax_5[1] = lane_sum_f32x8(sum_1_0);
    softmax_5[2] = lane_sum_f32x8(sum_2_0);
    softmax_5[3] = lane_sum_f32x8(sum_3_0);
}

/* y[i,j] = loss_cross_entropy_4[i,j]/softmax_5[i,0] */
static void kernel_y(const float *loss_cross_entropy_4, const float *softmax_5, float *y)
{
    for (int64_t i = 0; i < 4; ++i) {
        {
            store_f32x8(y + 10 * i, load_f32x8(loss_cross_entropy_4 + 10 * i) / softmax_5[i]);
        }
        {
            store_part_f32x8(y + 10 * i + 8, load_part_f32x8(loss_cross_entropy_4 + 10 * i + 8, 2) / softmax_5[i], 2);
        }
    }
}

/* loss_cross_entropy_9[i] = log(loss_cross_entropy_5[i]) - (sum over j of where(j == labels[i],
   loss_cross_entropy_3[i,j], 0)) */
static void kernel_loss_cross_entropy_9_2(const float *restrict loss_cross_entropy_3,
    const int32_t *restrict labels, const float *restrict loss_cross_entropy_5,
    float *restrict loss_cross_entropy_9)
{
    AUTODIFFC_SIMD
    for (int64_t i = 0; i < 4; ++i) {
        float acc = 0.0f;
        AUTODIFFC_SIMD_SUM(acc)
        for (int64_t j = 0; j < 10; ++j) {
            const float operand0 = loss_cross_entropy_3[10 * i + j];
            acc += ((int32_t)(j) == labels[i]) ? operand0 : 0.0f;
        }
        loss_cross_entropy_9[i] = logf(loss_cross_entropy_5[i]) - acc;
    }
}

/* d_loss_cross_entropy_5[i] = 0.25/loss_cross_entropy_5[i] */
static void kernel_d_loss_cross_entropy_5(const float *loss_cross_entropy_5,
    float *d_loss_cross_entropy_5)
{
    store_f32x4(d_loss_cross_entropy_5, 0.25f * (1.0f / load_f32x4(loss_cross_entropy_5)));
}

/* add[i,j] = where(j == labels[i], -0.25, 0) + d_loss_cross_entropy_5[i]*loss_cross_entropy_4[i,j] */
static void kernel_add(const int32_t *labels, const float *loss_cross_entropy_4,
    const float *d_loss_cross_entropy_5, float *add)
{
    for (int64_t i = 0; i < 4; ++i) {
        {
            store_f32x8(add + 10 * i, select_f32x8(((int32_t)(0) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), splat_f32x8(-0.25f), splat_f32x8(0.0f)) + (d_loss_cross_entropy_5[i] * load_f32x8(loss_cross_entropy_4 + 10 * i)));
        }
        {
            store_part_f32x8(add + 10 * i + 8, select_f32x8(((int32_t)(8) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), splat_f32x8(-0.25f), splat_f32x8(0.0f)) + (d_loss_cross_entropy_5[i] * load_part_f32x8(loss_cross_entropy_4 + 10 * i + 8, 2)), 2);
        }
    }
}

/* d_softmax_5[i,one0] = sum over j of (-y[i,j]/softmax_5[i,0]*cotangent_y[i,j]) */
static void kernel_d_softmax_5(const float *restrict softmax_5, const float *restrict cotangent_y,
    const float *restrict y, float *restrict d_softmax_5)
{
    f32x8 sum_0_0 = {0};
    f32x8 sum_1_0 = {0};
    f32x8 sum_2_0 = {0};
    f32x8 sum_3_0 = {0};
    {
        const float softmax_5_0 = softmax_5[0];
        const f32x8 cotangent_y_1 = load_f32x8(cotangent_y);
        const f32x8 y_2 = load_f32x8(y);
        sum_0_0 += -((y_2 / softmax_5_0) * cotangent_y_1);
        const float softmax_5_3 = softmax_5[1];
        const f32x8 cotangent_y_4 = load_f32x8(cotangent_y + 10);
        const f32x8 y_5 = load_f32x8(y + 10);
        sum_1_0 += -((y_5 / softmax_5_3) * cotangent_y_4);
        const float softmax_5_6 = softmax_5[2];
        const f32x8 cotangent_y_7 = load_f32x8(cotangent_y + 20);
        const f32x8 y_8 = load_f32x8(y + 20);
        sum_2_0 += -((y_8 / softmax_5_6) * cotangent_y_7);
        const float softmax_5_9 = softmax_5[3];
        const f32x8 cotangent_y_10 = load_f32x8(cotangent_y + 30);
        const f32x8 y_11 = load_f32x8(y + 30);
        sum_3_0 += -((y_11 / softmax_5_9) * cotangent_y_10);
    }
    {
        const float softmax_5_0 = softmax_5[0];
        const f32x8 cotangent_y_1 = load_f32x8(cotangent_y + 2);
        const f32x8 y_2 = load_f32x8(y + 2);
        sum_0_0 += (f32x8)((i32x8)(-((y_2 / softmax_5_0) * cotangent_y_1)) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const float softmax_5_3 = softmax_5[1];
        const f32x8 cotangent_y_4 = load_f32x8(cotangent_y + 12);
        const f32x8 y_5 = load_f32x8(y + 12);
        sum_1_0 += (f32x8)((i32x8)(-((y_5 / softmax_5_3) * cotangent_y_4)) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const float softmax_5_6 = softmax_5[2];
        const f32x8 cotangent_y_7 = load_f32x8(cotangent_y + 22);
        const f32x8 y_8 = load_f32x8(y + 22);
        sum_2_0 += (f32x8)((i32x8)(-((y_8 / softmax_5_6) * cotangent_y_7)) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
        const float softmax_5_9 = softmax_5[3];
        const f32x8 cotangent_y_10 = load_f32x8(cotangent_y + 32);
        const f32x8 y_11 = load_f32x8(y + 32);
        sum_3_0 += (f32x8)((i32x8)(-((y_11 / softmax_5_9) * cotangent_y_10)) & (i32x8){0, 0, 0, 0, 0, 0, -1, -1});
    }
    d_softmax_5[0] = lane_sum_f32x8(sum_0_0);
    d_softmax_5[1] = lane_sum_f32x8(sum_1_0);
    d_softmax_5[2] = lane_sum_f32x8(sum_2_0);
    d_softmax_5[3] = lane_sum_f32x8(sum_3_0);
}

/* d_loss_mean = cotangent_loss*0.25 */
static void kernel_d_loss_mean(const float *cotangent_loss, float *d_loss_mean)
{
    d_loss_mean[0] = cotangent_loss[0] * 0.25f;
}

/* d_loss_cross_entropy_8[i] = -d_loss_mean
   d_loss_cross_entropy_5[i] = d_loss_mean/loss_cross_entropy_5[i] */
static void kernel_d_loss_cross_entropy_5_2(const float *d_loss_mean,
    const float *loss_cross_entropy_5, float *d_loss_cross_entropy_8_out,
    float *d_loss_cross_entropy_5_out)
{
    const float d_loss_mean_0 = d_loss_mean[0];
    const f32x4 d_loss_cross_entropy_8 = splat_f32x4(-d_loss_mean_0);
    const f32x4 d_loss_cross_entropy_5 = d_loss_mean_0 * (1.0f / load_f32x4(loss_cross_entropy_5));
    store_f32x4(d_loss_cross_entropy_8_out, d_loss_cross_entropy_8);
    store_f32x4(d_loss_cross_entropy_5_out, d_loss_cross_entropy_5);
}

/* add[i,j] = (cotangent_y[i,j]/softmax_5[i,0] + d_softmax_5[i,0])*loss_cross_entropy_4[i,j] +
   where(j == labels[i], d_loss_cross_entropy_8[i], 0) +
   d_loss_cross_entropy_5[i]*loss_cross_entropy_4[i,j] */
static void kernel_add_2(const float *loss_cross_entropy_4, const float *softmax_5,
    const float *cotangent_y, const float *d_softmax_5, const int32_t *labels,
    const float *d_loss_cross_entropy_8, const float *d_loss_cross_entropy_5, float *add)
{
    for (int64_t i = 0; i < 4; ++i) {
        {
            const f32x8 loss_cross_entropy_4_0 = load_f32x8(loss_cross_entropy_4 + 10 * i);
            const float operand0 = d_loss_cross_entropy_8[i];
            store_f32x8(add + 10 * i, (((load_f32x8(cotangent_y + 10 * i) * (1.0f / softmax_5[i])) + d_softmax_5[i]) * loss_cross_entropy_4_0) + (select_f32x8(((int32_t)(0) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), splat_f32x8(operand0), splat_f32x8(0.0f)) + (d_loss_cross_entropy_5[i] * loss_cross_entropy_4_0)));
        }
        {
            const f32x8 loss_cross_entropy_4_0 = load_part_f32x8(loss_cross_entropy_4 + 10 * i + 8, 2);
            const float operand1 = d_loss_cross_entropy_8[i];
            store_part_f32x8(add + 10 * i + 8, (((load_part_f32x8(cotangent_y + 10 * i + 8, 2) * (1.0f / softmax_5[i])) + d_softmax_5[i]) * loss_cross_entropy_4_0) + (select_f32x8(((int32_t)(8) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), splat_f32x8(operand1), splat_f32x8(0.0f)) + (d_loss_cross_entropy_5[i] * loss_cross_entropy_4_0)), 2);
        }
    }
}

