/* model.h: model files, runtimes, models. Part of vllm_swift.h, whose promises hold here. */
#ifndef VLLM_SWIFT_MODEL_H
#define VLLM_SWIFT_MODEL_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vsw_model_file vsw_model_file;

/* Opens a .gguf file, or a folder with config.json and *.safetensors. Headers are read and checked
 * (every offset and size against the file's length); weights are mapped, not read. */
VSW_API vsw_status vsw_model_file_open(const char* path, vsw_model_file** file, vsw_error* error);

/* Metadata as a JSON document. `section` is one of
 *   "config"     the model's hyperparameters under Hugging Face's config.json keys
 *   "tokenizer"  GGUF only: {"model", "pre", "tokens", "token_types", "scores", "merges", ...}, the
 *                tokenizer.ggml.* keys without their prefix; `null` for a folder
 *   "metadata"   GGUF only: every other key, as in the file; `null` for a folder
 *   "tensors"    [{"name", "shape", "format", "bytes"}], checkpoint names
 * The text is UTF-8, `*size` bytes and a NUL, and valid until the file is closed. */
VSW_API vsw_status vsw_model_file_json(vsw_model_file* file, const char* section, const char** json,
                                       size_t* size, vsw_error* error);

VSW_API void vsw_model_file_close(vsw_model_file* file);

typedef struct vsw_runtime vsw_runtime;

typedef struct vsw_runtime_params {
  uint32_t struct_size;
  uint32_t threads;  /* CPU kernels' threads; 0: the machine's share (affinity, cgroup quota) */
  uint64_t reserved; /* 0 */
} vsw_runtime_params;

/* Starts the thread that owns MLX. `params` may be NULL. */
VSW_API vsw_status vsw_runtime_create(const vsw_runtime_params* params, vsw_runtime** runtime,
                                      vsw_error* error);

/* Cancels every request, unloads every model, joins the thread. Waiting polls return. */
VSW_API void vsw_runtime_destroy(vsw_runtime* runtime);

typedef struct vsw_model vsw_model;

/* A computed beginning of prompts, kept in a model's KV cache: prefix.h. */
typedef struct vsw_prefix vsw_prefix;
/* A compiled grammar, which outputs of a model are held to: grammar.h. */
typedef struct vsw_grammar vsw_grammar;

enum { VSW_DEVICE_AUTO = 0, VSW_DEVICE_CPU = 1, VSW_DEVICE_GPU = 2 };

/* Bytes of memory that a model may have on a VSW_DEVICE_*: of a GPU with memory of its own, all of
 * that. Else what the machine has, or what the control groups of the process allow, if that is
 * less; also for a device that is not there. */
VSW_API uint64_t vsw_machine_memory(int32_t device);

/* Which implementation of the ops runs. AUTO picks the fastest that the device has. REFERENCE is
 * the composition of stock MLX ops that every kernel is checked against. */
enum {
  VSW_KERNELS_AUTO = 0,
  VSW_KERNELS_REFERENCE = 1,
  VSW_KERNELS_AVX2 = 2,
  VSW_KERNELS_AVX512_VNNI = 3,
  VSW_KERNELS_NEON = 4,
  VSW_KERNELS_AVX512_BF16 = 5,
  VSW_KERNELS_NEON_BF16 = 6
};

typedef struct vsw_model_params {
  uint32_t struct_size;
  int32_t device;  /* VSW_DEVICE_* */
  int32_t kernels; /* VSW_KERNELS_* */
  uint32_t
      max_model_len; /* tokens, prompt and output together; 0: what the model was trained for */
  uint64_t memory_budget; /* bytes for weights, KV cache and workspace; 0: no bound of ours */
  uint32_t max_num_seqs;  /* sequences that run at once; 0: a default */
  uint32_t max_num_batched_tokens; /* rows of one step; 0: a default */
  uint32_t kv_cache_tokens; /* of the whole KV cache, in whole blocks; 0: what memory_budget leaves,
                               or four sequences of max_model_len */
  uint32_t reserved_word;   /* 0 */
  uint64_t reserved[2];     /* 0 */
} vsw_model_params;

typedef struct vsw_model_info {
  uint32_t struct_size;
  uint32_t vocab_size;
  uint32_t max_model_len; /* tokens */
  uint32_t hidden_size;
  int32_t device;        /* the VSW_DEVICE_* that was chosen, never AUTO */
  int32_t kernels;       /* the VSW_KERNELS_* that was chosen, never AUTO */
  uint64_t weight_bytes; /* as held in memory */
  uint64_t kv_bytes;     /* KV cache when full */
  uint32_t kv_block_tokens;
  uint32_t kv_blocks;
  char kernels_note[256]; /* why AUTO fell back to REFERENCE; empty where it did not */
} vsw_model_info;

/* Loads weights. Blocks until the model is ready. `params` may be NULL. `file` may be closed
 * afterwards. */
VSW_API vsw_status vsw_model_load(vsw_runtime* runtime, vsw_model_file* file,
                                  const vsw_model_params* params, vsw_model** model,
                                  vsw_error* error);

VSW_API vsw_status vsw_model_get_info(vsw_model* model, vsw_model_info* info, vsw_error* error);

/* Logits of every position of a token sequence, for perplexity and comparisons of kernels.
 * logits: float32 [token_count, vocab_size], row i predicting token i + 1. `capacity` is in floats.
 * Blocks; runs between the steps of requests. */
VSW_API vsw_status vsw_model_logits(vsw_model* model, const int32_t* tokens, size_t token_count,
                                    float* logits, size_t capacity, vsw_error* error);

/* Fails the model's requests with VSW_ERROR_CLOSED and frees its memory before it returns. */
VSW_API void vsw_model_destroy(vsw_model* model);

/* Reserved: embeddings float32 [count, hidden_size] of token sequences laid end to end, sequence i
 * having lengths[i] tokens. VSW_ERROR_UNSUPPORTED until encoders are there. */
VSW_API vsw_status vsw_embed(vsw_model* model, const int32_t* tokens, const size_t* lengths,
                             size_t count, float* embeddings, size_t capacity, vsw_error* error);

#ifdef __cplusplus
}
#endif

#endif /* VLLM_SWIFT_MODEL_H */
