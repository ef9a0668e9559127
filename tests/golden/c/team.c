/* --- Kernels --- */

/* h[i,j] = relu(sum over k of x[i,k]*w[k,j]) */
static void kernel_h(int64_t batch, const float *restrict x, const float *restrict w,
    float *restrict h, team_part team)
{
    if (!takes_part(&team, (2048*batch + 1920) >= 10000)) return;
    const loop_part i_part = part_of(0, batch, 1, team);
    for (int64_t i = i_part.start; i < i_part.stop; ++i) {
        f32x8 sum_0 = {0}, sum_1 = {0}, sum_2 = {0};
        for (int64_t k = 0; k < 40; ++k) {
            const f32x8 x_0 = splat_kept_f32x8(x[40 * i + k]);
            const f32x8 w_1 = load_f32x8(w + 24 * k);
            const f32x8 w_2 = load_f32x8(w + 24 * k + 8);
            const f32x8 w_3 = load_f32x8(w + 24 * k + 16);
            sum_0 += x_0 * w_1;
            sum_1 += x_0 * w_2;
            sum_2 += x_0 * w_3;
        }
        store_f32x8(h + 24 * i, relu_f32x8(sum_0));
        store_f32x8(h + 24 * i + 8, relu_f32x8(sum_1));
        store_f32x8(h + 24 * i + 16, relu_f32x8(sum_2));
    }
}

/* loss = sum over i,j of h[i,j]*h[i,j] */
static void kernel_loss(int64_t batch, const float *restrict h, float *restrict loss)
{
    float acc = 0.0f;
    AUTODIFFC_SIMD_SUM(acc)
    for (int64_t ij = 0; ij < 24*batch; ++ij) {
        acc += h[ij] * h[ij];
    }
    loss[0] = acc;
}

/* d_h_matmul[i,j] = where(h[i,j] <= 0, 0, cotangent_h[i,j] + cotangent_loss*(h[i,j] + h[i,j])) */
static void kernel_d_h_matmul(int64_t batch, const float *h, const float *cotangent_h,
    const float *cotangent_loss, float *d_h_matmul, team_part team)
{
    if (!takes_part(&team, (264*batch + 2) >= 10000)) return;
    const int64_t ij_block_end = floor_div(24*batch, 8);
    const loop_part ij_block_part = part_of(0, ij_block_end, 1, team);
    for (int64_t ij_block = ij_block_part.start; ij_block < ij_block_part.stop; ++ij_block) {
        const f32x8 h_0 = load_f32x8(h + 8 * ij_block);
        const float operand0 = cotangent_loss[0];
        store_f32x8(d_h_matmul + 8 * ij_block, select_f32x8(h_0 <= splat_f32x8(0.0f), splat_f32x8(0.0f), load_f32x8(cotangent_h + 8 * ij_block) + (operand0 * (h_0 + h_0))));
    }
    if (team.part == 0) {
        const int64_t ij_block = floor_div(24*batch, 8);
        if (-8 * ij_block + (24*batch - 1) >= 0) {
            const f32x8 h_0 = load_part_f32x8(h + 8 * ij_block, -8 * ij_block + (24*batch));
            const float operand1 = cotangent_loss[0];
            store_part_f32x8(d_h_matmul + 8 * ij_block, select_f32x8(h_0 <= splat_f32x8(0.0f), splat_f32x8(0.0f), load_part_f32x8(cotangent_h + 8 * ij_block, -8 * ij_block + (24*batch)) + (operand1 * (h_0 + h_0))), -8 * ij_block + (24*batch));
        }
    }
}

/* d_w[k,j] = sum over i of d_h_matmul[i,j]*x[i,k] */
static void kernel_d_w(int64_t batch, const float *restrict x, const float *restrict d_h_matmul,
    float *restrict d_w, team_part team)
{
    if (!takes_part(&team, (2048*batch + 1920) >= 10000)) return;
    const loop_part k_part = part_of(0, 40, 4, team);
    for (int64_t k = k_part.start; k < k_part.stop; k += 4) {
        f32x8 sum_0_0 = {0}, sum_0_1 = {0}, sum_0_2 = {0}, sum_1_0 = {0}, sum_1_1 = {0},
            sum_1_2 = {0}, sum_2_0 = {0}, sum_2_1 = {0}, sum_2_2 = {0}, sum_3_0 = {0},
            sum_3_1 = {0}, sum_3_2 = {0};
        for (int64_t i = 0; i < batch; ++i) {
            const float *const x_at0 = x + k + 40 * i;
            const f32x8 x_0 = splat_kept_f32x8(x_at0[0]);
            const f32x8 d_h_matmul_1 = load_kept_f32x8(d_h_matmul + 24 * i);
            sum_0_0 += d_h_matmul_1 * x_0;
            const f32x8 d_h_matmul_2 = load_kept_f32x8(d_h_matmul + 24 * i + 8);
            sum_0_1 += d_h_matmul_2 * x_0;
            const f32x8 d_h_matmul_3 = load_kept_f32x8(d_h_matmul + 24 * i + 16);
            sum_0_2 += d_h_matmul_3 * x_0;
            const f32x8 x_4 = splat_kept_f32x8(x_at0[1]);
            sum_1_0 += d_h_matmul_1 * x_4;
            sum_1_1 += d_h_matmul_2 * x_4;
            sum_1_2 += d_h_matmul_3 * x_4;
            const f32x8 x_5 = splat_kept_f32x8(x_at0[2]);
            sum_2_0 += d_h_matmul_1 * x_5;
            sum_2_1 += d_h_matmul_2 * x_5;
            sum_2_2 += d_h_matmul_3 * x_5;
            const f32x8 x_6 = splat_kept_f32x8(x_at0[3]);
            sum_3_0 += d_h_matmul_1 * x_6;
            sum_3_1 += d_h_matmul_2 * x_6;
            sum_3_2 += d_h_matmul_3 * x_6;
        }
        store_f32x8(d_w + 24 * k, sum_0_0);
        store_f32x8(d_w + 24 * k + 8, sum_0_1);
        store_f32x8(d_w + 24 * k + 16, sum_0_2);
        store_f32x8(d_w + 24 * k + 24, sum_1_0);
        store_f32x8(d_w + 24 * k + 32, sum_1_1);
        store_f32x8(d_w + 24 * k + 40, sum_1_2);
        store_f32x8(d_w + 24 * k + 48, sum_2_0);
        store_f32x8(d_w + 24 * k + 56, sum_2_1);
        store_f32x8(d_w + 24 * k + 64, sum_2_2);
        store_f32x8(d_w + 24 * k + 72, sum_3_0);
        store_f32x8(d_w + 24 * k + 80, sum_3_1);
        store_f32x8(d_w + 24 * k + 88, sum_3_2);
    }
}

/* The steps of team_predict for each thread of a team */
AUTODIFFC_ONCE static void predict_calls(const team_inputs *inputs, const float *params,
    const float *state, const team_outputs *outputs, const team_workspace *workspace,
    team_part team)
{
    (void)state;
    float *const out_h = outputs ? outputs->h : NULL;
    float *const out_loss = outputs ? outputs->loss : NULL;
    const int64_t batch = inputs->batch;
    char *const arena = workspace->memory;
    float *const h = out_h ? out_h : (float *)(arena + 64);
    if (out_h || out_loss) {
        kernel_h(batch, inputs->x, params + TEAM_PARAM_w, h, team);
    }
    if (out_loss) {
        team_wait(team);
        if (team.part == 0) {
            kernel_loss(batch, h, out_loss);
        }
    }
}

int team_predict(const team_inputs *inputs, const float *params, const float *state,
    const team_outputs *outputs, const team_workspace *workspace)
{
    const int inputs_status = inputs_check(inputs);
    if (inputs_status != TEAM_OK) return inputs_status;
    const int status = workspace_check(workspace, TEAM_ARENA_BYTES_PREDICT);
    if (status != TEAM_OK) return status;
    workspace_header *const header = workspace->memory;
    float *const out_h = outputs ? outputs->h : NULL;
    float *const out_loss = outputs ? outputs->loss : NULL;
    const int64_t batch = inputs->batch;
    if (!inputs->x && (out_h || out_loss)) return TEAM_E_NULL;
    if (!params) return TEAM_E_NULL;
    header->mark = 0;
    int64_t gain = 0; /* by having a team */
    gain += team_gain((2048*batch + 1920), 10000, 35000);
    const int threads = gain >= 0 ? team_limit(workspace->threads, 0) : 1;
    AUTODIFFC_RUN(threads, predict_calls, inputs, params, state, outputs, workspace)
    return TEAM_OK;
}

