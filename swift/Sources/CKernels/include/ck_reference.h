/* ck_reference.h: every op as a composition of stock MLX ops. Runs on any device MLX has; the
 * oracle that kernels are checked against, and their stand-in where there are none. Results are
 * lazy.
 */
#ifndef CK_REFERENCE_H
#define CK_REFERENCE_H

#include "ckernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A weight matrix [rows, columns] as MLX holds it. Arrays are borrowed. */
typedef struct ck_ref_matrix {
  cmlx_array weight;         /* [rows, columns], or uint32 [rows, columns * bits / 32] */
  cmlx_array scales, biases; /* [rows, columns / group_size], NULL where weight is not quantized */
  int32_t bits, group_size;
} ck_ref_matrix;

/* tokens: int32 [rows]. out: float32 [rows, columns]. */
int ck_ref_embed(cmlx_stream stream, cmlx_array tokens, const ck_ref_matrix* table, cmlx_array* out,
                 cmlx_error* error);

/* RMS norm(x) * weight (NULL: x itself), times each part^T, side by side. */
int ck_ref_norm_linear(cmlx_stream stream, cmlx_array x, cmlx_array weight, float epsilon,
                       const ck_ref_matrix* parts, int count, cmlx_array* out, cmlx_error* error);

/* `keys`, `values`: [blocks * CK_BLOCK_TOKENS, kv_heads, head_dim]; their handles come to hold the
 * arrays with this step's rows appended, in place where the handle is their only owner. */
int ck_ref_attend(cmlx_stream stream, cmlx_array qkv, const ck_attention* attention,
                  cmlx_array keys, cmlx_array values, const ck_sequence* sequences, int count,
                  cmlx_array* out, cmlx_error* error);

/* `pool`: keys or values as above; its handle comes to hold the array with block `to` like `from`.
 */
int ck_ref_copy_block(cmlx_stream stream, cmlx_array pool, int from, int to, cmlx_error* error);

int ck_ref_linear(cmlx_stream stream, cmlx_array x, const ck_ref_matrix* matrix,
                  cmlx_array residual, cmlx_array* out, cmlx_error* error);

int ck_ref_gated_linear(cmlx_stream stream, cmlx_array gate_up, ck_activation activation,
                        const ck_ref_matrix* matrix, cmlx_array residual, cmlx_array* out,
                        cmlx_error* error);

int ck_ref_logits(cmlx_stream stream, cmlx_array x, const int32_t* rows, int count,
                  cmlx_array weight, float epsilon, const ck_ref_matrix* matrix, cmlx_array* out,
                  cmlx_error* error);

/* As ck_sample, on any device, where no row has a sampler, a mask, a known token or logprobs. */
int ck_ref_sample(cmlx_stream stream, cmlx_array logits, const ck_sampling* rows, int count,
                  cmlx_array* out, cmlx_error* error);

/* The step's tokens, int32 [count]: tokens[i], or previous[-1 - tokens[i]] where that is negative.
 */
int ck_ref_tokens(cmlx_stream stream, const int32_t* tokens, int count, cmlx_array previous,
                  cmlx_array* out, cmlx_error* error);

#ifdef __cplusplus
}
#endif

#endif /* CK_REFERENCE_H */
