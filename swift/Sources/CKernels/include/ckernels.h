/* ckernels.h: the ops a model is written in. Each has a reference, a composition of stock MLX ops
 * that runs on any device, and CPU kernels of our own, which run recorded: a plan holds the ops of
 * one forward pass with their buffers and weights, and a step is one MLX primitive that replays it.
 *
 * Rows are the flat token axis: the tokens of all sequences of a step, one after another. Between
 * ops they are float32 on the CPU. Conventions of errors and ownership are cmlx.h's.
 */
#ifndef CKERNELS_H
#define CKERNELS_H

#include "cmlx.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- machine --------------------- */

/* The numbers are those of VSW_KERNELS_* in vllm_swift.h. */
typedef enum ck_isa {
  CK_ISA_AVX2 = 2,
  CK_ISA_AVX512_VNNI = 3,
  CK_ISA_NEON = 4,
  CK_ISA_AVX512_BF16 = 5, /* with VNNI */
  CK_ISA_NEON_BF16 = 6    /* with dot products of bytes */
} ck_isa;

/* Whether this machine runs the instruction set (CPUID with the operating system's support). */
int ck_isa_supported(ck_isa isa);
/* The fastest one that it runs; 0 if none, and then only the references run. */
int ck_isa_best(void);

/* Threads of the process's one pool, the caller's included. 0: the machine's share, from affinity
 * and cgroup quota. Takes effect with the next step; returns the number in force. */
int ck_pool_configure(int threads);
/* Tells the system that the calling thread is one that hands out what the pool computes: see
 * pool/placement.hpp. Cheap after the first time. */
void ck_pool_hands_out(void);

/* Gives memory back to the system that the process holds and does not use: what it freed, where its
 * allocator keeps that (glibc), and what was reserved for weights and not needed. */
void ck_trim_memory(void);
/* Bytes that the process may have: the machine's, or what its control groups allow. */
size_t ck_machine_memory(void);

/* ---------------------------------------------------------------- weights --------------------- */

typedef enum ck_format {
  CK_FLOAT32,
  CK_FLOAT16,
  CK_BFLOAT16,
  CK_GGUF_Q4_0, /* groups of 32: half d, 16 bytes of nibbles (low half first); d * (q - 8) */
  CK_GGUF_Q4_1, /* half d, half m, 16 bytes; d * q + m */
  CK_GGUF_Q8_0, /* half d, 32 int8; d * q */
  CK_GGUF_Q5_0, /* half d, 4 bytes of fifth bits, 16 bytes of nibbles; d * (q - 16) */
  CK_GGUF_Q5_1, /* half d, half m, 4 and 16 bytes; d * q + m */
  /* Blocks of 256, see linear/blocks.hpp: groups of 16 with a scale d * int6 or int8, of 32 with a
   * scale d * int6 and a bias -dmin * int6. */
  CK_GGUF_Q3_K,
  CK_GGUF_Q4_K,
  CK_GGUF_Q5_K,
  CK_GGUF_Q6_K,
  CK_AFFINE /* MLX: little-endian bit stream in uint32, scales and biases a group */
} ck_format;

/* One matrix as it lies in a checkpoint: [rows, columns], row major. */
typedef struct ck_source {
  ck_format format;
  int32_t rows, columns;
  int32_t bits, group_size; /* CK_AFFINE */
  int32_t scale_dtype;      /* CK_AFFINE: CMLX_FLOAT16, _BFLOAT16 or _FLOAT32 */
  const void* data;
  const void *scales, *biases; /* CK_AFFINE: [rows, columns / group_size] */
  const int32_t* row_order;    /* NULL, or [rows]: logical row i is stored row row_order[i] */
} ck_source;

/* Weights in the layout that an instruction set's kernels read, once in memory. */
typedef struct ck_matrix ck_matrix;

/* 1 if the kernels of `isa` have a fast path for the format and shape. */
int ck_matrix_supported(const ck_source* source, ck_isa isa);
/* Packs `count` matrices of one width, stacked along their rows. Sources may be freed afterwards.
 */
int ck_matrix_pack(const ck_source* parts, int count, ck_isa isa, ck_matrix** out,
                   cmlx_error* error);
void ck_matrix_free(ck_matrix* matrix);
int32_t ck_matrix_rows(const ck_matrix* matrix);
int32_t ck_matrix_columns(const ck_matrix* matrix);
size_t ck_matrix_bytes(const ck_matrix* matrix);

/* ---------------------------------------------------------------- KV cache -------------------- */

/* Keys and values of all layers in blocks of CK_BLOCK_TOKENS tokens, 16 bits an element: int16 with
 * a float32 scale a vector (kv/kv.hpp), as precise as float16 and with float32's range. Memory is
 * taken from the system as blocks are first written. Plans and queued steps keep it alive. */
typedef struct ck_kv ck_kv;
enum { CK_BLOCK_TOKENS = 32 };

int ck_kv_create(int layers, int kv_heads, int head_dim, int blocks, ck_kv** out,
                 cmlx_error* error);
void ck_kv_free(ck_kv* kv);
/* Bytes that `blocks` blocks of all layers take. */
size_t ck_kv_bytes(int layers, int kv_heads, int head_dim, int blocks);

/* A block's contents, ck_kv_bytes of one block: for the same shape and kernels in any process. No
 * step that writes the block may be queued or running. */
int ck_kv_read(const ck_kv* kv, int block, void* to, cmlx_error* error);
int ck_kv_write(ck_kv* kv, int block, const void* from, cmlx_error* error);

/* ---------------------------------------------------------------- a plan ---------------------- */

typedef enum ck_activation { CK_SILU } ck_activation;

typedef struct ck_attention {
  int32_t layer; /* in the KV cache */
  int32_t heads, kv_heads, head_dim;
  float scale;                      /* of q . k */
  int32_t window;                   /* keys a query sees, itself included; 0: all */
  float soft_cap;                   /* cap * tanh(score / cap); 0: none */
  const float* inverse_frequencies; /* [head_dim / 2] of the rotary embedding, halves layout */
} ck_attention;

typedef struct ck_plan ck_plan;
/* A row buffer of a plan; -1 is none. */
typedef int32_t ck_rows;

/* `max_rows` bounds a step. Ops are recorded in order; a plan keeps its matrices' and cache's
 * addresses, which must outlive it, and copies everything else. */
int ck_plan_create(ck_isa isa, int max_rows, ck_kv* kv, ck_plan** out, cmlx_error* error);
void ck_plan_free(ck_plan* plan);
/* Bytes of row buffers and scratch space. This, like the first step, ends the recording. */
size_t ck_plan_bytes(const ck_plan* plan);
/* Gives that memory back to the system until the next step. No step may be queued or running. */
void ck_plan_rest(ck_plan* plan);

/* Rows given by the step as float32 [rows, columns]; for tests, and rows given as embeddings. */
int ck_plan_input(ck_plan* plan, int columns, ck_rows* out, cmlx_error* error);
/* table[token] */
int ck_plan_embed(ck_plan* plan, const ck_matrix* table, ck_rows* out, cmlx_error* error);
/* RMS norm(x) * weight, times matrix^T. weight: float32 [columns], NULL: no norm. */
int ck_plan_norm_linear(ck_plan* plan, ck_rows x, const float* weight, float epsilon,
                        const ck_matrix* matrix, ck_rows* out, cmlx_error* error);
/* x: [rows, (heads + 2 kv_heads) * head_dim], q then k then v. Rotates q and k, appends k and v to
 * the cache, attends causally. out: [rows, heads * head_dim] */
int ck_plan_attend(ck_plan* plan, ck_rows qkv, const ck_attention* attention, ck_rows* out,
                   cmlx_error* error);
/* x times matrix^T, plus residual unless that is -1. */
int ck_plan_linear(ck_plan* plan, ck_rows x, const ck_matrix* matrix, ck_rows residual,
                   ck_rows* out, cmlx_error* error);
/* activation(gate) * up, times matrix^T, plus residual. gate_up: [rows, 2 * columns], gate first.
 */
int ck_plan_gated_linear(ck_plan* plan, ck_rows gate_up, ck_activation activation,
                         const ck_matrix* matrix, ck_rows residual, ck_rows* out,
                         cmlx_error* error);
/* How many layers the plan has. Each but the first begins before an attention, at the last point
 * where later ops read one earlier result only. Ends the recording. */
int ck_plan_layers(ck_plan* plan, int* out, cmlx_error* error);
/* Ends the plan: norm and projection of those rows that want logits. */
int ck_plan_logits(ck_plan* plan, ck_rows x, const float* weight, float epsilon,
                   const ck_matrix* matrix, cmlx_error* error);

typedef struct ck_sequence {
  int32_t first_row, row_count; /* in the step */
  int32_t position;             /* of its first row */
  int32_t block_count;
  const int32_t* blocks; /* block table: block i holds positions 32 i ... */
} ck_sequence;

/* Block `to` takes the contents of block `from`, in all layers. */
typedef struct ck_copy {
  int32_t from, to;
} ck_copy;

typedef struct ck_step {
  int32_t row_count, sequence_count, logit_count;
  const int32_t* tokens;        /* [row_count]; -1 - i: the i-th of `previous` */
  const ck_sequence* sequences; /* their rows cover 0 ..< row_count in order */
  const int32_t* logit_rows;    /* [logit_count], ascending */
  const float* inputs;          /* of ck_plan_input, else NULL */
  const ck_copy* copies;        /* [copy_count], done in order before any row is computed */
  int32_t copy_count;
  /* The last part_count rows, whole sequences, pass through the layers part_first ..< part_end of
   * the plan alone (of ck_plan_layers). Where part_first > 0 they are the same rows, with the same
   * tokens, positions and blocks, that an earlier step took up to that layer; their number and the
   * layer are checked. Where part_end is not the last layer they want no logits, and the plan keeps
   * them until a later step takes them on or takes others to a layer, it rests, or a step fails.
   * 0 rows: no such rows. */
  int32_t part_count, part_first, part_end;
} ck_step;

/* One step as one lazy array, logits: float32 [logit_count, vocabulary] (or, of a plan not ended by
 * ck_plan_logits, the last op's rows [row_count, columns]). `step` is copied; it is checked in
 * full, token ids of `previous` at run time. `previous`: int32, a lazy result of ck_sample, or
 * NULL. The plan's cache is written when the array is evaluated; steps must be evaluated in order.
 */
int ck_plan_step(ck_plan* plan, cmlx_stream stream, const ck_step* step, cmlx_array previous,
                 cmlx_array* logits, cmlx_error* error);

/* ---------------------------------------------------------------- sampling -------------------- */

/* What a sequence has drawn so far, where its parameters look back at that or change its logits.
 * Belongs to one sequence: ck_sample reads it and adds to it as it draws, so a step may be issued
 * before the tokens of the step before are known. Queued steps keep it alive. */
typedef struct ck_sampler ck_sampler;

/* Ids are checked against the vocabulary. Everything is copied. */
typedef struct ck_sampler_params {
  int32_t vocabulary, prompt_count;
  const int32_t* prompt;
  float repetition_penalty; /* of tokens of prompt and output: logit / penalty where the logit is
                               positive, logit * penalty elsewhere (Keskar et al., 2019,
                               arXiv:1909.05858); 1: off */
  float frequency_penalty;  /* subtracted for each time the output has the token; 0: off */
  float presence_penalty;   /* subtracted once if the output has the token; 0: off */
  int32_t min_tokens;       /* so many come before any of end_ids */
  int32_t end_count, allowed_count, bias_count, bad_word_count;
  const int32_t* end_ids;
  const int32_t* allowed_ids; /* nothing else is drawn; none: every token may be */
  const int32_t* bias_ids;
  const float* bias_values;        /* added; finite */
  const int32_t* bad_words;        /* sequences of tokens that the output never has, end to end */
  const int32_t* bad_word_lengths; /* >= 1 each */
} ck_sampler_params;

int ck_sampler_create(const ck_sampler_params* params, ck_sampler** out, cmlx_error* error);
void ck_sampler_free(ck_sampler* sampler);

typedef struct ck_sampling {
  float temperature;   /* 0: the largest logit, the first of equals */
  float top_p;         /* 1: off */
  float min_p;         /* 0: off */
  int32_t top_k;       /* 0: off */
  float uniform;       /* [0, 1): the draw, by inversion over the kept tokens, most likely first */
  int32_t known;       /* a token that is given, and whose logprobs are wanted; -1: draw one */
  int32_t logprobs;    /* -1: none; else those of the row's token and of so many most likely ones */
  int32_t index;       /* with a sampler: tokens that its sequence drew before. If it has seen more,
                          as when a sequence is computed anew, those are forgotten. */
  ck_sampler* sampler; /* NULL: none of its features */
  const uint32_t* mask; /* [(vocabulary + 31) / 32] a bit for each token, the lowest first: nothing
                           else is drawn; NULL: every token may be */
  const int32_t* given; /* [given_count] with a sampler: the last of the `index` tokens, which its
                           sequence has and did not draw */
  int32_t given_count;
} ck_sampling;

/* Of the logits as they are, before any processing. */
typedef struct ck_logprob {
  int32_t token;
  float logprob; /* natural logarithm of its softmax */
  int32_t rank;  /* 1: most likely. Of a row's own token: how many logits are as large as its. */
} ck_logprob;

/* In place of a row's token, where its logits give none. Other rows do not suffer, and a later step
 * may still name that token: it stands for any. */
enum {
  CK_LOGITS_NAN = -1,
  CK_LOGITS_INFINITE = -2, /* and the row wants more than the largest */
  CK_LOGITS_MASKED = -3    /* none is above minus infinity */
};

/* One token a row. logits: float32 [rows, vocabulary]. tokens: lazy int32 [rows], drawn or known.
 * `rows` and what they point to is copied.
 * Order as in vLLM's V1 sampler: mask and allowed ids, bad words, end_ids below min_tokens, bias,
 * repetition, frequency and presence penalty; temperature, min-p, top-k, top-p (of what those two
 * keep, renormalized). logprobs: NULL where no row asks; else lazy int32 [entries, 3], the words of
 * a ck_logprob each: rows in order, those that ask with 1 + logprobs entries, the row's token
 * first, then the most likely ones, the lower id of equals first. */
int ck_sample(cmlx_stream stream, cmlx_array logits, const ck_sampling* rows, int count,
              cmlx_array* tokens, cmlx_array* logprobs, cmlx_error* error);

#ifdef __cplusplus
}
#endif

#endif /* CKERNELS_H */
