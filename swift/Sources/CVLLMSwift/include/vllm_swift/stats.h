/* stats.h: what a runtime has done. Part of vllm_swift.h, whose promises hold here. */
#ifndef VLLM_SWIFT_STATS_H
#define VLLM_SWIFT_STATS_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { VSW_LATENCY_BOUNDS = 22 };

typedef struct vsw_histogram {
  uint64_t count; /* of all, those above the last bound too */
  uint64_t sum_us;
  uint64_t at_most[VSW_LATENCY_BOUNDS]; /* how many took at most latency_bounds_us[i] */
} vsw_histogram;

typedef struct vsw_stats {
  uint32_t struct_size;
  uint32_t models;
  uint32_t running; /* sequences: a request has n */
  uint32_t waiting;
  uint64_t prompt_tokens; /* computed since the start; again after a preemption */
  uint64_t output_tokens;
  uint64_t steps;          /* forward passes */
  uint64_t kv_blocks;      /* of all models */
  uint64_t kv_blocks_used; /* held by running sequences and prefixes */
  uint64_t mlx_active_bytes;
  uint64_t preemptions;      /* sequences that gave up their blocks, and were computed again */
  uint64_t prefix_queries;   /* prompt tokens looked up in the prefix cache */
  uint64_t prefix_hits;      /* and found */
  uint64_t kv_blocks_cached; /* held by none, with a prefix that may be asked for again */
  /* Of all requests since the runtime's start, as the engine's thread saw them. */
  uint64_t latency_bounds_us[VSW_LATENCY_BOUNDS]; /* ascending, the same in each runtime */
  vsw_histogram queue_time;                       /* from submit to the first prefill step */
  vsw_histogram time_to_first_token;              /* from submit */
  vsw_histogram inter_token_time;                 /* between two tokens of a sequence */
  vsw_histogram request_time; /* from submit to the end, of those that had tokens and no error */
  uint64_t masks;             /* of grammars, that were computed */
  uint64_t mask_us;           /* and the CPU time of that */
} vsw_stats;

VSW_API vsw_status vsw_runtime_get_stats(vsw_runtime* runtime, vsw_stats* stats, vsw_error* error);

#ifdef __cplusplus
}
#endif

#endif /* VLLM_SWIFT_STATS_H */
