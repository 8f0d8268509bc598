/* prefix.h: computed beginnings of prompts, kept. Part of vllm_swift.h, whose promises hold here.
 */
#ifndef VLLM_SWIFT_PREFIX_H
#define VLLM_SWIFT_PREFIX_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Requests that begin alike share what was computed as long as there is room for it. A prefix keeps
 * it until it is destroyed, or its model is, or a step of the model fails. */

typedef struct vsw_prefix_info {
  uint32_t struct_size;
  uint32_t token_count; /* whole blocks of kv_block_tokens */
  uint64_t bytes;       /* of its contents */
} vsw_prefix_info;

/* Keeps the longest beginning of `tokens` that the model has computed, possibly none of it: run a
 * request over them first. Blocks until the step in flight is issued. VSW_ERROR_REQUEST_TOO_LARGE
 * where that leaves too little KV cache for the requests that wait and run. */
VSW_API vsw_status vsw_prefix_pin(vsw_model* model, const int32_t* tokens, size_t token_count,
                                  vsw_prefix** prefix, vsw_error* error);

VSW_API vsw_status vsw_prefix_get_info(vsw_prefix* prefix, vsw_prefix_info* info, vsw_error* error);

/* Copies the contents out. They mean something to the same weights with the same kernels alone, and
 * hold nothing that says so: whoever stores them has to store that, and a checksum, with them. */
VSW_API vsw_status vsw_prefix_read(vsw_prefix* prefix, void* contents, size_t capacity,
                                   vsw_error* error);

/* Keeps a prefix of whole blocks of tokens with contents that vsw_prefix_read gave. */
VSW_API vsw_status vsw_prefix_load(vsw_model* model, const int32_t* tokens, size_t token_count,
                                   const void* contents, size_t size, vsw_prefix** prefix,
                                   vsw_error* error);

VSW_API void vsw_prefix_destroy(vsw_prefix* prefix);

#ifdef __cplusplus
}
#endif

#endif /* VLLM_SWIFT_PREFIX_H */
