/* grammar.h: grammars that outputs are held to. Part of vllm_swift.h, whose promises hold here. */
#ifndef VLLM_SWIFT_GRAMMAR_H
#define VLLM_SWIFT_GRAMMAR_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif

#endif /* VLLM_SWIFT_GRAMMAR_H */
