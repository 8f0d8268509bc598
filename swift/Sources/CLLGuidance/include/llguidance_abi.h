/* llguidance_abi.h: what this engine uses of the C interface of llguidance 1.9.1 (MIT). The library
 * is a part of the wheel of that name, which has no header, and is opened at run time. It refers to
 * symbols of CPython, so it opens in a process that runs Python alone. Structs are laid out as in
 * that release; a test holds them against the library.
 */
#ifndef LLGUIDANCE_ABI_H
#define LLGUIDANCE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma clang assume_nonnull begin

/* What llg_get_version begins with. */
#define LLG_PINNED_VERSION "llguidance@1.9.1 "

typedef struct llg_tokenizer llg_tokenizer;
/* A grammar with how far an output is in it. One thread at a time. */
typedef struct llg_matcher llg_matcher;

/* 0 in each is the library's default. */
typedef struct llg_limits {
  size_t max_items_in_row; /* Earley items of one position */
  uint64_t initial_lexer_fuel;
  uint64_t step_lexer_fuel; /* of one mask, about 14k a ms */
  size_t step_max_items;    /* of one mask, about 20k a ms */
  size_t max_lexer_states;  /* of a matcher, 1 to 2 KB each */
  size_t max_grammar_size;  /* symbols */
  bool precompute_large_lexemes;
  bool verbose_errors; /* the state of the parser in errors */
} llg_limits;

typedef struct llg_init {
  const llg_tokenizer* _Nullable tokenizer;
  uint32_t log_buffer_level;
  uint32_t log_stderr_level;
  bool ff_tokens_ok;
  bool backtrack_ok;
  llg_limits limits;
} llg_init;

/* Writes at most `capacity` tokens of any bytes; returns how many there are. Called from the
 * threads that use the tokenizer. */
typedef size_t (*llg_tokenize)(const void* _Nullable context, const uint8_t* _Nullable bytes,
                               size_t count, uint32_t* _Nullable tokens, size_t capacity);

/* A token that begins with byte 0xFF is a special one of the name that follows; one without bytes
 * matches nothing. */
typedef struct llg_tokenizer_init {
  size_t struct_size;
  uint32_t vocab_size;
  uint32_t tok_eos;
  const uint32_t* _Nullable token_lens;
  const uint8_t* _Nullable token_bytes; /* end to end */
  const char* _Nullable tokenizer_json;
  bool tokenize_assumes_string;
  llg_tokenize _Nullable tokenize_fn;
  bool use_approximate_greedy_tokenize_fn; /* instead; then no token is ever forced */
  const void* _Nullable tokenize_user_data;
  const char* _Nullable const* _Nullable slices; /* NULL: the library's own */
  const uint32_t* _Nullable tok_eos_extra;
  uint32_t tok_eos_extra_count;
} llg_tokenizer_init;

/* Each has the name that follows `llg_` in the library. An int32_t is -1 on failure. */
typedef struct llg_functions {
  const char* _Nonnull (*_Nonnull get_version)(void);
  llg_tokenizer* _Nullable (*_Nonnull new_tokenizer_v2)(const llg_tokenizer_init* init, char* error,
                                                        size_t capacity);
  void (*_Nonnull free_tokenizer)(llg_tokenizer* tokenizer);
  void (*_Nonnull constraint_init_set_defaults)(llg_init* init, const llg_tokenizer* tokenizer);
  /* Never NULL; ask matcher_get_error. kind: "json_schema", "regex" or "lark". */
  llg_matcher* _Nonnull (*_Nonnull new_matcher)(const llg_init* init, const char* kind,
                                                const char* text);
  llg_matcher* _Nonnull (*_Nonnull clone_matcher)(const llg_matcher* matcher);
  void (*_Nonnull free_matcher)(llg_matcher* matcher);
  /* NULL unless it has failed, for good. */
  const char* _Nullable (*_Nonnull matcher_get_error)(llg_matcher* matcher);
  int32_t (*_Nonnull matcher_compute_mask_into)(llg_matcher* matcher, uint32_t* _Nullable mask,
                                                size_t bytes);
  int32_t (*_Nonnull matcher_consume_token)(llg_matcher* matcher, uint32_t token);
  int32_t (*_Nonnull matcher_consume_tokens)(llg_matcher* matcher, const uint32_t* _Nullable tokens,
                                             size_t count);
  int32_t (*_Nonnull matcher_rollback)(llg_matcher* matcher, size_t count);
  /* How many of the tokens it would consume. */
  int32_t (*_Nonnull matcher_validate_tokens)(llg_matcher* matcher,
                                              const uint32_t* _Nullable tokens, size_t count);
  /* The tokens that have to come next, consumed or not. */
  int32_t (*_Nonnull matcher_compute_ff_tokens)(llg_matcher* matcher, uint32_t* _Nullable tokens,
                                                size_t capacity);
  bool (*_Nonnull matcher_is_accepting)(llg_matcher* matcher);
  bool (*_Nonnull matcher_is_stopped)(const llg_matcher* matcher);
} llg_functions;

/* Opens the library at `path`, for as long as the process lives. Returns 0, or -1 with a sentence
 * in `error`. */
int llg_open(const char* path, llg_functions* functions, char* error, size_t capacity);

#pragma clang assume_nonnull end

#ifdef __cplusplus
}
#endif

#endif /* LLGUIDANCE_ABI_H */
