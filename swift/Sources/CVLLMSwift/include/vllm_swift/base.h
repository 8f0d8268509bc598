/* base.h: errors and versions. Part of vllm_swift.h, whose promises hold here. */
#ifndef VLLM_SWIFT_BASE_H
#define VLLM_SWIFT_BASE_H

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

/* VSW_ABI_VERSION as the library was built. */
VSW_API uint32_t vsw_abi_version(void);

/* "major.minor.patch" of the MLX headers the library was built against. Static storage. */
VSW_API const char* vsw_mlx_version_built(void);

/* The same of the libmlx that is loaded in this process. Static storage. */
VSW_API const char* vsw_mlx_version_loaded(void);

#ifdef __cplusplus
}
#endif

#endif /* VLLM_SWIFT_BASE_H */
