// The one entry point of the library: attention as src/launch.rs describes it in `Call`, for head_dim 128 in bf16.

#include <cmath>
#include <cstdint>

#include <cutlass/numeric_types.h>

#include "error.h"
#include "flash.h"

constexpr int HEAD_DIM = 128;
using Element = cutlass::bfloat16_t;

// Keep in step with `Call` of src/launch.rs. Strides count elements.
struct Call {
    const void *q, *k, *v;
    void *out;
    // f32 [heads, rows of q], or [batch, heads, rows of q] without `starts_q`.
    float *log_sum;
    // With more than one split: f32 [splits, batch, heads, longest_q, HEAD_DIM] and the same without HEAD_DIM.
    float *split_out, *split_log_sum;
    // i32 [batch + 1]: rows before each sequence. Without `starts_q` each sequence has longest_q rows.
    const int32_t *starts_q, *starts_k;
    // i32 [batch, blocks]: pages of each sequence; none for keys and values that lie behind each other.
    const int32_t *block_table;
    int64_t q_batch_stride, q_row_stride, q_head_stride;
    int64_t k_batch_stride, k_row_stride, k_head_stride;
    int64_t v_batch_stride, v_row_stride, v_head_stride;
    int64_t out_batch_stride, out_row_stride, out_head_stride;
    int64_t block_table_stride;
    int32_t batch, heads, kv_heads, total_q, longest_q, longest_k, page, splits, causal;
    float scale;
};

static int rounded(int n, int to) { return (n + to - 1) / to * to; }

// Queues the kernels on the stream and returns the first error, as a cudaError_t.
extern "C" int glm46v_flash_attention(const Call *call, void *stream_of_caller) {
    const Call &c = *call;
    Flash_fwd_params params = {};
    params.q_ptr = const_cast<void *>(c.q);
    params.k_ptr = const_cast<void *>(c.k);
    params.v_ptr = const_cast<void *>(c.v);
    params.o_ptr = c.out;
    params.softmax_lse_ptr = c.log_sum;
    params.oaccum_ptr = c.split_out;
    params.softmax_lseaccum_ptr = c.split_log_sum;
    params.cu_seqlens_q = const_cast<int32_t *>(c.starts_q);
    params.cu_seqlens_k = const_cast<int32_t *>(c.starts_k);
    params.is_seqlens_k_cumulative = true;
    params.block_table = const_cast<int32_t *>(c.block_table);
    params.block_table_batch_stride = c.block_table_stride;
    params.page_block_size = c.page;

    params.q_batch_stride = c.q_batch_stride;
    params.q_row_stride = c.q_row_stride;
    params.q_head_stride = c.q_head_stride;
    params.k_batch_stride = c.k_batch_stride;
    params.k_row_stride = c.k_row_stride;
    params.k_head_stride = c.k_head_stride;
    params.v_batch_stride = c.v_batch_stride;
    params.v_row_stride = c.v_row_stride;
    params.v_head_stride = c.v_head_stride;
    params.o_batch_stride = c.out_batch_stride;
    params.o_row_stride = c.out_row_stride;
    params.o_head_stride = c.out_head_stride;

    params.b = c.batch;
    params.h = c.heads;
    params.h_k = c.kv_heads;
    params.h_h_k_ratio = c.heads / c.kv_heads;
    params.total_q = c.total_q;
    params.seqlen_q = c.longest_q;
    params.seqlen_k = c.longest_k;
    params.seqlen_q_rounded = rounded(c.longest_q, 128);
    params.seqlen_k_rounded = rounded(c.longest_k, 128);
    params.d = HEAD_DIM;
    params.d_rounded = HEAD_DIM;

    params.scale_softmax = c.scale;
    params.scale_softmax_log2 = c.scale * M_LOG2E;
    // The probability of keeping a weight: no dropout.
    params.p_dropout = 1.f;
    params.p_dropout_in_uint8_t = 255;
    params.rp_dropout = 1.f;
    params.scale_softmax_rp_dropout = c.scale;

    params.is_bf16 = true;
    params.is_causal = c.causal != 0;
    // A window that ends at the query itself; -1: none. The left side is never bounded.
    params.window_size_left = params.is_causal ? c.longest_k : -1;
    params.window_size_right = params.is_causal ? 0 : -1;
    params.num_splits = c.splits;
    params.unpadded_lse = c.starts_q != nullptr;

    cudaStream_t stream = static_cast<cudaStream_t>(stream_of_caller);
    glm46v::first_error() = cudaSuccess;
    if (c.block_table != nullptr) {
        if (params.is_causal) {
            run_mha_fwd_splitkv_paged_<Element, HEAD_DIM, true>(params, stream);
        } else {
            run_mha_fwd_splitkv_paged_<Element, HEAD_DIM, false>(params, stream);
        }
    } else if (params.is_causal) {
        run_mha_fwd_<Element, HEAD_DIM, true>(params, stream);
    } else {
        run_mha_fwd_<Element, HEAD_DIM, false>(params, stream);
    }
    return glm46v::first_error();
}
