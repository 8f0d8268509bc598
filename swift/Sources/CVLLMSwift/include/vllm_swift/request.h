/* request.h: requests, and the events that they report. Part of vllm_swift.h, whose promises hold
 * here. */
#ifndef VLLM_SWIFT_REQUEST_H
#define VLLM_SWIFT_REQUEST_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A request's name within its runtime; never 0, never reused. */
typedef uint64_t vsw_request;

/* The most that `logprobs` and `prompt_logprobs` may ask for. */
enum { VSW_MAX_LOGPROBS = 20 };

/* Fields have vLLM's names and meanings. Fill with vsw_sampling_params_default, once struct_size is
 * set. Logits are processed in the order of vLLM's V1 engine: grammar, allowed_token_ids, bad
 * words, min_tokens, logit_bias, repetition, frequency and presence penalty; then temperature,
 * min_p, top_k, top_p. A GPU refuses all of these but the last four, and logprobs, with
 * VSW_ERROR_UNSUPPORTED. */
typedef struct vsw_sampling_params {
  uint32_t struct_size;
  uint32_t max_tokens;      /* >= 1 */
  uint32_t min_tokens;      /* <= max_tokens; so many come before one that ends the sequence */
  uint32_t n;               /* outputs, 1 to 1,024; output i draws from the stream of seed + i */
  float temperature;        /* >= 0; 0 is greedy */
  float top_p;              /* (0, 1]; 1 is off */
  float min_p;              /* [0, 1]; 0 is off */
  int32_t top_k;            /* >= 1; 0 or -1 is off */
  float presence_penalty;   /* [-2, 2]; 0 is off; of tokens of the output */
  float frequency_penalty;  /* [-2, 2]; 0 is off; of tokens of the output */
  float repetition_penalty; /* > 0; 1 is off; of tokens of prompt and output */
  int32_t logprobs; /* 0 .. VSW_MAX_LOGPROBS most likely tokens; -1: none, not even its own */
  int32_t prompt_logprobs;   /* the same of the prompt's tokens from the second on */
  uint8_t has_seed;          /* 0: a fresh seed for each request */
  uint8_t ignore_eos;        /* 1: eos_token_ids do not end the sequence */
  uint8_t reserved_flags[2]; /* 0 */
  uint64_t seed;
  const int32_t* stop_token_ids; /* end a sequence; the token itself is not reported */
  size_t stop_token_count;
  const int32_t* logit_bias_ids;  /* each token once */
  const float* logit_bias_values; /* finite; added to the tokens' logits */
  size_t logit_bias_count;
  const int32_t* eos_token_ids; /* the model's own; as stop_token_ids, unless ignore_eos */
  size_t eos_token_count;
  const int32_t* allowed_token_ids; /* nothing else is sampled; none: every token may be */
  size_t allowed_token_count;
  const int32_t* bad_word_tokens;   /* sequences that the output never has, one after another */
  const uint32_t* bad_word_lengths; /* of each, >= 1 */
  size_t bad_word_count;
} vsw_sampling_params;

/* Rows of the prompt that are given as embeddings (images, audio) and not as token ids. */
typedef struct vsw_embedding_rows {
  uint32_t struct_size;
  uint32_t first_row;
  uint32_t row_count;
  int32_t dtype;
  const void* data;         /* [row_count, hidden_size] */
  const int32_t* positions; /* [3, row_count], or NULL for the rows' own */
  uint8_t content_hash[32];
} vsw_embedding_rows;

typedef struct vsw_submit_params {
  uint32_t struct_size;
  int32_t priority;      /* lower runs earlier; equals, in the order of arrival */
  const int32_t* tokens; /* [token_count] prompt, >= 1 token */
  size_t token_count;
  const vsw_sampling_params* sampling; /* NULL: defaults */
  uint64_t timeout_us;  /* from here to its end, else it fails with VSW_ERROR_TIMED_OUT; 0: none */
  uint64_t adapter_id;  /* reserved: 0, none */
  vsw_prefix* prefix;   /* its tokens come before `tokens`; NULL: none */
  vsw_grammar* grammar; /* each output is held to it; NULL: none. A GPU refuses it. */
  const vsw_embedding_rows* embeddings; /* reserved: NULL */
  size_t embedding_count;               /* reserved: 0 */
} vsw_submit_params;

/* vLLM's defaults: greedy is not among them, temperature is 1. Writes no more than struct_size says
 * there is, and nothing to a struct that is too small. */
VSW_API void vsw_sampling_params_default(vsw_sampling_params* params);

/* Queues `count` requests, all or none. `requests` receives their names in order. A request that
 * could never run (too long, bad token) is refused here. Does not wait for the engine. */
VSW_API vsw_status vsw_submit(vsw_model* model, const vsw_submit_params* params, size_t count,
                              vsw_request* requests, vsw_error* error);

enum {
  VSW_FINISH_NONE = 0,
  VSW_FINISH_STOP = 1,   /* a stop token, or the end of the grammar */
  VSW_FINISH_LENGTH = 2, /* max_tokens, or max_model_len */
  VSW_FINISH_CANCELLED = 3,
  VSW_FINISH_ERROR = 4 /* vsw_request_get_info has the error */
};

/* Of the model's logits as they are, before any processing. */
typedef struct vsw_logprob {
  int32_t token;
  float logprob; /* natural logarithm of its softmax */
  int32_t rank;  /* 1: most likely. Of a sampled or given token: how many are as likely at least. */
} vsw_logprob;

/* Logprobs of a request's prompt (with sequence 0), new tokens of one sequence of it, the
 * sequence's end, or several of these. Its logprobs are logprobs[logprob_offset .. + logprob_count)
 * of the poll: prompt_token_count times prompt_logprobs + 1, of the prompt's tokens in order,
 * starting with the second (the first has none); all come before the first event with tokens, or
 * with it; then token_count times logprobs + 1. Each of these groups starts with the token itself,
 * and goes on with the most likely ones, in order. None is there where the request has -1. A poll
 * never splits a token from its logprobs. */
typedef struct vsw_event {
  vsw_request request;
  uint32_t sequence;     /* 0 .. n - 1 */
  int32_t finish_reason; /* VSW_FINISH_*; anything but NONE is the sequence's last event */
  uint32_t token_offset; /* its tokens are tokens[token_offset .. + token_count) of the poll */
  uint32_t token_count;
  uint32_t logprob_offset;
  uint32_t logprob_count;
  int32_t stop_token; /* the token that ended the sequence with STOP, else -1: a grammar may end
                         without one */
  uint32_t prompt_token_count;
} vsw_event;

/* The caller's buffers for one poll. */
typedef struct vsw_poll_buffers {
  uint32_t struct_size;
  uint32_t event_capacity;   /* >= 1 */
  uint32_t token_capacity;   /* >= 1 */
  uint32_t logprob_capacity; /* > VSW_MAX_LOGPROBS; 0 where no request asks for logprobs, else a
                                poll that meets some is VSW_ERROR_INVALID_ARGUMENT and takes none */
  vsw_event* events;
  int32_t* tokens;
  vsw_logprob* logprobs;
  uint32_t event_count; /* out */
  uint32_t token_count; /* out */
} vsw_poll_buffers;

/* Waits at most `timeout_us` (negative: without end; 0: not at all) for events and moves those that
 * fit into `buffers`, oldest first. Returns VSW_OK with event_count 0 when the time is over or
 * vsw_wake was called, VSW_ERROR_CLOSED once the runtime is destroyed. On Linux the calling thread
 * gets short time slices from then on, so that it gets a processor as soon as there are events. */
VSW_API vsw_status vsw_poll(vsw_runtime* runtime, vsw_poll_buffers* buffers, int64_t timeout_us,
                            vsw_error* error);

/* Makes one poll, the waiting one or the next, return at once. */
VSW_API void vsw_wake(vsw_runtime* runtime);

/* Asks a request to end. Its last event follows, with VSW_FINISH_CANCELLED if it was still running.
 * Unknown and finished requests are left alone. Never blocks. */
VSW_API void vsw_cancel(vsw_runtime* runtime, vsw_request request);

/* The same of one of a request's n outputs: the others go on. */
VSW_API void vsw_cancel_sequence(vsw_runtime* runtime, vsw_request request, uint32_t sequence);

typedef struct vsw_request_info {
  uint32_t struct_size;
  uint32_t prompt_tokens;
  uint32_t cached_tokens; /* of the prompt, taken from the prefix cache */
  uint32_t output_tokens;
  uint64_t queue_us;   /* from submit to the first prefill step */
  uint64_t prefill_us; /* from there to the first token */
  uint64_t decode_us;  /* from there to the last token */
  vsw_error error;     /* of a request that ended with VSW_FINISH_ERROR */
} vsw_request_info;

VSW_API vsw_status vsw_request_get_info(vsw_runtime* runtime, vsw_request request,
                                        vsw_request_info* info, vsw_error* error);

/* Forgets a request, cancelling it first if it runs; no event of it is delivered any more. */
VSW_API void vsw_release(vsw_runtime* runtime, vsw_request request);

#ifdef __cplusplus
}
#endif

#endif /* VLLM_SWIFT_REQUEST_H */
