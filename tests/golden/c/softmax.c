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

/* loss_cross_entropy[i,one0] = max over j of x[i,j]
   loss_cross_entropy_3[i,j] = x[i,j] - loss_cross_entropy[i,0]
   loss_cross_entropy_4[i,j] = exp(loss_cross_entropy_3[i,j])
   softmax_5[i,one0] = sum over j of loss_cross_entropy_4[i,j]
   y[i,j] = loss_cross_entropy_4[i,j]/softmax_5[i,0] */
static void kernel_y(const float *restrict x, float *restrict loss_cross_entropy_3_out,
    float *restrict loss_cross_entropy_4_out, float *restrict y_out)
{
    for (int64_t i = 0; i < 4; ++i) {
        f32x8 loss_cross_entropy_lanes = splat_f32x8(-INFINITY);
        {
            const f32x8 loss_cross_entropy_term = load_f32x8(x + 10 * i);
            loss_cross_entropy_lanes = select_f32x8((loss_cross_entropy_term > loss_cross_entropy_lanes) | (loss_cross_entropy_term != loss_cross_entropy_term), loss_cross_entropy_term, loss_cross_entropy_lanes);
        }
        {
            const f32x8 loss_cross_entropy_term = first_lanes_f32x8(load_part_f32x8(x + 10 * i + 8, 2), 2, -INFINITY);
            loss_cross_entropy_lanes = select_f32x8((loss_cross_entropy_term > loss_cross_entropy_lanes) | (loss_cross_entropy_term != loss_cross_entropy_term), loss_cross_entropy_term, loss_cross_entropy_lanes);
        }
        const f32x8 loss_cross_entropy = splat_f32x8(lane_max_f32x8(loss_cross_entropy_lanes));
        f32x8 softmax_5_lanes = {0};
        {
            const f32x8 loss_cross_entropy_3 = load_f32x8(x + 10 * i) - loss_cross_entropy;
            const f32x8 loss_cross_entropy_4 = exp_f32x8(loss_cross_entropy_3);
            softmax_5_lanes += loss_cross_entropy_4;
            store_f32x8(loss_cross_entropy_3_out + 10 * i, loss_cross_entropy_3);
            store_f32x8(loss_cross_entropy_4_out + 10 * i, loss_cross_entropy_4);
        }
        {
            const f32x8 loss_cross_entropy_3 = load_part_f32x8(x + 10 * i + 8, 2) - loss_cross_entropy;
            const f32x8 loss_cross_entropy_4 = exp_f32x8(loss_cross_entropy_3);
            softmax_5_lanes += first_lanes_f32x8(loss_cross_entropy_4, 2, 0.0f);
            store_part_f32x8(loss_cross_entropy_3_out + 10 * i + 8, loss_cross_entropy_3, 2);
            store_part_f32x8(loss_cross_entropy_4_out + 10 * i + 8, loss_cross_entropy_4, 2);
        }
        const f32x8 softmax_5 = splat_f32x8(lane_sum_f32x8(softmax_5_lanes));
        {
            const f32x8 loss_cross_entropy_4 = load_f32x8(loss_cross_entropy_4_out + 10 * i);
            const f32x8 y = loss_cross_entropy_4 / softmax_5;
            store_f32x8(y_out + 10 * i, y);
        }
        {
            const f32x8 loss_cross_entropy_4 = load_part_f32x8(loss_cross_entropy_4_out + 10 * i + 8, 2);
            const f32x8 y = loss_cross_entropy_4 / softmax_5;
            store_part_f32x8(y_out + 10 * i + 8, y, 2);
        }
    }
}

/* loss_cross_entropy_8[i] = sum over j of where(j == labels[i], loss_cross_entropy_3[i,j], 0)
   loss_cross_entropy_9[i] = log(sum over j of loss_cross_entropy_4[i,j]) - loss_cross_entropy_8[i] */
static void kernel_loss_cross_entropy_9(const float *restrict loss_cross_entropy_3,
    const int32_t *restrict labels, const float *restrict loss_cross_entropy_4,
    float *restrict loss_cross_entropy_9_out)
{
    for (int64_t i = 0; i < 4; ++i) {
        f32x8 loss_cross_entropy_8_lanes = {0}, loss_cross_entropy_9_lanes = {0};
        {
            loss_cross_entropy_8_lanes += select_f32x8(((int32_t)(0) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), load_f32x8(loss_cross_entropy_3 + 10 * i), splat_f32x8(0.0f));
            loss_cross_entropy_9_lanes += load_f32x8(loss_cross_entropy_4 + 10 * i);
        }
        {
            loss_cross_entropy_8_lanes += first_lanes_f32x8(select_f32x8(((int32_t)(8) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), load_part_f32x8(loss_cross_entropy_3 + 10 * i + 8, 2), splat_f32x8(0.0f)), 2, 0.0f);
            loss_cross_entropy_9_lanes += first_lanes_f32x8(load_part_f32x8(loss_cross_entropy_4 + 10 * i + 8, 2), 2, 0.0f);
        }
        const f32x8 loss_cross_entropy_8 = splat_f32x8(lane_sum_f32x8(loss_cross_entropy_8_lanes));
        const f32x8 loss_cross_entropy_9_all = splat_f32x8(lane_sum_f32x8(loss_cross_entropy_9_lanes));
        const f32x8 loss_cross_entropy_9 = log_f32x8(loss_cross_entropy_9_all) - loss_cross_entropy_8;
        store_part_f32x8(loss_cross_entropy_9_out + i, loss_cross_entropy_9, 1);
    }
}

/* loss = (sum over i of loss_cross_entropy_9[i])*0.25 */
static void kernel_loss(const float *restrict loss_cross_entropy_9, float *restrict loss)
{
    f32x4 sum_0 = {0};
    const f32x4 loss_cross_entropy_9_0 = load_f32x4(loss_cross_entropy_9);
    sum_0 += loss_cross_entropy_9_0;
    loss[0] = lane_sum_f32x4(sum_0) * 0.25f;
}

/* loss_cross_entropy[i,one0] = max over j of x[i,j]
   loss_cross_entropy_3[i,j] = x[i,j] - loss_cross_entropy[i,0]
   loss_cross_entropy_4[i,j] = exp(loss_cross_entropy_3[i,j])
   loss_cross_entropy_5[i] = sum over j of loss_cross_entropy_4[i,j]
   softmax_5[i,one0] = sum over j of loss_cross_entropy_4[i,j]
   y[i,j] = loss_cross_entropy_4[i,j]/softmax_5[i,0] */
static void kernel_y_2(const float *restrict x, float *restrict loss_cross_entropy_3_out,
    float *restrict loss_cross_entropy_4_out, float *restrict loss_cross_entropy_5_out,
    float *restrict softmax_5_out, float *restrict y_out)
{
    for (int64_t i = 0; i < 4; ++i) {
        f32x8 loss_cross_entropy_lanes = splat_f32x8(-INFINITY);
        {
            const f32x8 loss_cross_entropy_term = load_f32x8(x + 10 * i);
            loss_cross_entropy_lanes = select_f32x8((loss_cross_entropy_term > loss_cross_entropy_lanes) | (loss_cross_entropy_term != loss_cross_entropy_term), loss_cross_entropy_term, loss_cross_entropy_lanes);
        }
        {
            const f32x8 loss_cross_entropy_term = first_lanes_f32x8(load_part_f32x8(x + 10 * i + 8, 2), 2, -INFINITY);
            loss_cross_entropy_lanes = select_f32x8((loss_cross_entropy_term > loss_cross_entropy_lanes) | (loss_cross_entropy_term != loss_cross_entropy_term), loss_cross_entropy_term, loss_cross_entropy_lanes);
        }
        const f32x8 loss_cross_entropy = splat_f32x8(lane_max_f32x8(loss_cross_entropy_lanes));
        f32x8 loss_cross_entropy_5_lanes = {0}, softmax_5_lanes = {0};
        {
            const f32x8 loss_cross_entropy_3 = load_f32x8(x + 10 * i) - loss_cross_entropy;
            const f32x8 loss_cross_entropy_4 = exp_f32x8(loss_cross_entropy_3);
            loss_cross_entropy_5_lanes += loss_cross_entropy_4;
            softmax_5_lanes += loss_cross_entropy_4;
            store_f32x8(loss_cross_entropy_3_out + 10 * i, loss_cross_entropy_3);
            store_f32x8(loss_cross_entropy_4_out + 10 * i, loss_cross_entropy_4);
        }
        {
            const f32x8 loss_cross_entropy_3 = load_part_f32x8(x + 10 * i + 8, 2) - loss_cross_entropy;
            const f32x8 loss_cross_entropy_4 = exp_f32x8(loss_cross_entropy_3);
            loss_cross_entropy_5_lanes += first_lanes_f32x8(loss_cross_entropy_4, 2, 0.0f);
            softmax_5_lanes += first_lanes_f32x8(loss_cross_entropy_4, 2, 0.0f);
            store_part_f32x8(loss_cross_entropy_3_out + 10 * i + 8, loss_cross_entropy_3, 2);
            store_part_f32x8(loss_cross_entropy_4_out + 10 * i + 8, loss_cross_entropy_4, 2);
        }
        const f32x8 loss_cross_entropy_5 = splat_f32x8(lane_sum_f32x8(loss_cross_entropy_5_lanes));
        store_part_f32x8(loss_cross_entropy_5_out + i, loss_cross_entropy_5, 1);
        const f32x8 softmax_5 = splat_f32x8(lane_sum_f32x8(softmax_5_lanes));
        store_part_f32x8(softmax_5_out + i, softmax_5, 1);
        {
            const f32x8 loss_cross_entropy_4 = load_f32x8(loss_cross_entropy_4_out + 10 * i);
            const f32x8 y = loss_cross_entropy_4 / softmax_5;
            store_f32x8(y_out + 10 * i, y);
        }
        {
            const f32x8 loss_cross_entropy_4 = load_part_f32x8(loss_cross_entropy_4_out + 10 * i + 8, 2);
            const f32x8 y = loss_cross_entropy_4 / softmax_5;
            store_part_f32x8(y_out + 10 * i + 8, y, 2);
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

/* d_loss_mean = cotangent_loss*0.25 */
static void kernel_d_loss_mean(const float *cotangent_loss, float *d_loss_mean)
{
    d_loss_mean[0] = cotangent_loss[0] * 0.25f;
}

/* d_softmax_5[i,one0] = sum over j of (-y[i,j]/softmax_5[i,0]*cotangent_y[i,j])
   d_loss_cross_entropy_8[i] = -d_loss_mean
   d_loss_cross_entropy_5[i] = d_loss_mean/loss_cross_entropy_5[i]
   add[i,j] = (cotangent_y[i,j]/softmax_5[i,0] + d_softmax_5[i,0])*loss_cross_entropy_4[i,j] +
   where(j == labels[i], d_loss_cross_entropy_8[i], 0) +
   d_loss_cross_entropy_5[i]*loss_cross_entropy_4[i,j] */
static void kernel_add_2(const float *restrict softmax_5, const float *restrict cotangent_y,
    const float *restrict y, const float *restrict d_loss_mean,
    const float *restrict loss_cross_entropy_5, const float *restrict loss_cross_entropy_4,
    const int32_t *restrict labels, float *restrict add_out)
{
    for (int64_t i = 0; i < 4; ++i) {
        const float d_loss_cross_entropy_8 = -d_loss_mean[0];
        const float d_loss_cross_entropy_5 = d_loss_mean[0] * (1.0f / loss_cross_entropy_5[i]);
        f32x8 d_softmax_5_lanes = {0};
        {
            d_softmax_5_lanes += -((load_f32x8(y + 10 * i) / softmax_5[i]) * load_f32x8(cotangent_y + 10 * i));
        }
        {
            d_softmax_5_lanes += first_lanes_f32x8(-((load_part_f32x8(y + 10 * i + 8, 2) / softmax_5[i]) * load_part_f32x8(cotangent_y + 10 * i + 8, 2)), 2, 0.0f);
        }
        const float d_softmax_5 = lane_sum_f32x8(d_softmax_5_lanes);
        {
            const f32x8 add = (((load_f32x8(cotangent_y + 10 * i) * (1.0f / softmax_5[i])) + d_softmax_5) * load_f32x8(loss_cross_entropy_4 + 10 * i)) + (select_f32x8(((int32_t)(0) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), splat_f32x8(d_loss_cross_entropy_8), splat_f32x8(0.0f)) + (d_loss_cross_entropy_5 * load_f32x8(loss_cross_entropy_4 + 10 * i)));
            store_f32x8(add_out + 10 * i, add);
        }
        {
            const f32x8 add = (((load_part_f32x8(cotangent_y + 10 * i + 8, 2) * (1.0f / softmax_5[i])) + d_softmax_5) * load_part_f32x8(loss_cross_entropy_4 + 10 * i + 8, 2)) + (select_f32x8(((int32_t)(8) + (i32x8){0, 1, 2, 3, 4, 5, 6, 7}) == splat_i32x8(labels[i]), splat_f32x8(d_loss_cross_entropy_8), splat_f32x8(0.0f)) + (d_loss_cross_entropy_5 * load_part_f32x8(loss_cross_entropy_4 + 10 * i + 8, 2)));
            store_part_f32x8(add_out + 10 * i + 8, add, 2);
        }
    }
}

