/* vllm_swift.h: the C interface of the vllm-swift engine, and the only contract between the native
 * library and its callers. Token ids cross it, never text.
 *
 * Three levels. A runtime (one a process is enough) owns the thread that talks to MLX. A model
 * lives in a runtime. A request runs on a model and reports through its runtime's event queue.
 * A model file is opened on its own, without a runtime, so that its metadata can be read first.
 *
 * Promises:
 *  - Every fallible call returns a vsw_status; VSW_OK is 0. On failure, and only then, it fills the
 *    caller's `error` (which may be NULL) with the same code and a UTF-8 sentence.
 *  - Every function may be called from any thread. Nothing calls back into the caller.
 *  - Handles are names, not addresses: a stale, forged or NULL handle gives
 *    VSW_ERROR_INVALID_HANDLE, and destroying one is a no-op.
 *  - Parameter structs start with `struct_size`, which the caller sets to the size it was compiled
 *    with. Fields past it take their defaults, so a newer library serves an older caller. Reserved
 *    fields must be zero; anything else is VSW_ERROR_UNSUPPORTED.
 *  - Pointers that a call receives are read before it returns and not kept. Pointers that a call
 *    gives out stay valid as its comment says.
 *  - No input ends the process.
 */
#ifndef VLLM_SWIFT_H
#define VLLM_SWIFT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define VSW_API __attribute__((visibility("default")))
#else
#define VSW_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Raised by one whenever a caller compiled against an older header could misread this library. */
#define VSW_ABI_VERSION 1

/* ---------------------------------------------------------------- errors ---------------------- */

typedef int32_t vsw_status;

/* Codes are pinned: a number is never reused. Gaps are room for more of the same group. */
enum {
  VSW_OK = 0,
  /* The caller's request cannot be served as it is. */
  VSW_ERROR_INVALID_ARGUMENT = 10,
  VSW_ERROR_INVALID_HANDLE = 11,
  VSW_ERROR_UNSUPPORTED = 12,
  VSW_ERROR_EMPTY_PROMPT = 13,
  VSW_ERROR_PROMPT_TOO_LONG = 14,
  VSW_ERROR_INVALID_TOKEN = 15,
  VSW_ERROR_INVALID_GRAMMAR = 16, /* it cannot be read, or leaves no token to draw */
  /* The model's files cannot be used. */
  VSW_ERROR_MODEL_NOT_FOUND = 30,
  VSW_ERROR_MODEL_CORRUPT = 31,
  VSW_ERROR_UNSUPPORTED_ARCHITECTURE = 32,
  VSW_ERROR_UNSUPPORTED_QUANTIZATION = 33,
  /* It would be served, were there room. */
  VSW_ERROR_MEMORY_BUDGET = 50,
  VSW_ERROR_REQUEST_TOO_LARGE = 51,
  VSW_ERROR_GRAMMAR_TOO_COMPLEX = 52, /* compiling it, or following it, takes more than it may */
  /* MLX, a device, or a kernel failed. */
  VSW_ERROR_BACKEND = 70,
  VSW_ERROR_DEVICE_UNAVAILABLE = 71,
  VSW_ERROR_GRAMMAR_LIBRARY = 72, /* llguidance is missing, or of another version */
  /* The object is gone, or the process is not the one that made it. */
  VSW_ERROR_CLOSED = 90,
  VSW_ERROR_FORKED = 91,
  VSW_ERROR_CANCELLED = 92,
  VSW_ERROR_TIMED_OUT = 93, /* a request, after its timeout_us */
  VSW_ERROR_INTERNAL = 99
};

typedef struct vsw_error {
  int32_t code;
  char message[512]; /* UTF-8, NUL-terminated, cut between characters when longer */
} vsw_error;

/* ---------------------------------------------------------------- version --------------------- */

/* VSW_ABI_VERSION as the library was built. */
VSW_API uint32_t vsw_abi_version(void);

/* "major.minor.patch" of the MLX headers the library was built against. Static storage. */
VSW_API const char* vsw_mlx_version_built(void);

/* The same of the libmlx that is loaded in this process. Static storage. */
VSW_API const char* vsw_mlx_version_loaded(void);

/* ---------------------------------------------------------------- model files ----------------- */

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

/* ---------------------------------------------------------------- runtime --------------------- */

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

/* Bytes of memory that this process may have: the machine's, or what its control groups allow, if
 * that is less. */
VSW_API uint64_t vsw_machine_memory(void);

/* ---------------------------------------------------------------- models ---------------------- */

typedef struct vsw_model vsw_model;

/* A computed beginning of prompts, kept in a model's KV cache; see below. */
typedef struct vsw_prefix vsw_prefix;
/* A compiled grammar, which outputs of a model are held to; see below. */
typedef struct vsw_grammar vsw_grammar;

enum { VSW_DEVICE_AUTO = 0, VSW_DEVICE_CPU = 1, VSW_DEVICE_GPU = 2 };

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

/* ---------------------------------------------------------------- requests -------------------- */

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

/* ---------------------------------------------------------------- prefixes -------------------- */

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

/* ---------------------------------------------------------------- grammars -------------------- */

/* A request's outputs can be held to a grammar: nothing is drawn that it does not allow, and tokens
 * that it leaves no choice about are added without a step each, where the request has no logprobs.
 * Before max_tokens are used up, an output is led to the grammar's end, where a way is found; it
 * finishes with VSW_FINISH_LENGTH.
 * Grammars are compiled by llguidance 1.9.1, which is opened from its Python wheel and so needs a
 * process that runs Python. */

typedef struct vsw_vocabulary {
  uint32_t struct_size;
  uint32_t token_count; /* at most the model's; its others are never drawn under a grammar */
  const uint32_t* token_lengths; /* [token_count] bytes of each token. None: it is never drawn. */
  const uint8_t* token_bytes;    /* end to end; of a special token, 0xFF and then its name */
  const int32_t* eos_token_ids; /* [eos_token_count >= 1] end an output where the grammar may end */
  size_t eos_token_count;
  const int32_t* atoms;  /* [atom_count] the tokens that byte-pair encoding starts from: those of
                            single bytes, or of characters and then of bytes */
  size_t atom_count;     /* 0: the tokenizer is another one, and no token is forced */
  const int32_t* merges; /* [merge_count, 3] left, right and result, in the order of learning */
  size_t merge_count;
  const char* library; /* llguidance's, its path */
} vsw_vocabulary;

/* Tells what a model's tokens are, once, before its first grammar. Everything is copied.
 * VSW_ERROR_GRAMMAR_LIBRARY names what to install. */
VSW_API vsw_status vsw_model_set_vocabulary(vsw_model* model, const vsw_vocabulary* vocabulary,
                                            vsw_error* error);

enum {
  VSW_GRAMMAR_JSON_SCHEMA = 0, /* with llguidance's extension "x-guidance" */
  VSW_GRAMMAR_REGEX = 1,       /* in the syntax of Rust's regex crate; of the whole output */
  VSW_GRAMMAR_LARK = 2         /* in llguidance's dialect */
};

/* Compiles a UTF-8 text while the caller waits; a text that the model compiled lately is found. A
 * grammar that asks for too much is VSW_ERROR_GRAMMAR_TOO_COMPLEX, here or of the request. */
VSW_API vsw_status vsw_grammar_compile(vsw_model* model, int32_t kind, const char* text,
                                       size_t size, vsw_grammar** grammar, vsw_error* error);

/* Requests that were submitted with it keep what they need. */
VSW_API void vsw_grammar_destroy(vsw_grammar* grammar);

/* ---------------------------------------------------------------- embeddings ------------------ */

/* Reserved: embeddings float32 [count, hidden_size] of token sequences laid end to end, sequence i
 * having lengths[i] tokens. VSW_ERROR_UNSUPPORTED until encoders are there. */
VSW_API vsw_status vsw_embed(vsw_model* model, const int32_t* tokens, const size_t* lengths,
                             size_t count, float* embeddings, size_t capacity, vsw_error* error);

/* ---------------------------------------------------------------- statistics ------------------ */

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
  uint64_t kv_blocks_used; /* held by running sequences */
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

#endif /* VLLM_SWIFT_H */
