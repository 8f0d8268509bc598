/* cmlx.h: the part of MLX's C++ API that the engine needs, as C functions.
 *
 * An array handle owns one reference to an MLX array; whoever receives one frees it. Functions that
 * can fail return 0, or 1 after filling `error`; those that give out an array then leave `*out`
 * alone. No exception leaves this library. Arrays are lazy until cmlx_eval. Every op runs on the
 * stream it is given; a stream belongs to the thread that made it.
 */
#ifndef CMLX_H
#define CMLX_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cmlx_error {
  char message[512]; /* NUL-terminated */
} cmlx_error;

typedef struct cmlx_array_s* cmlx_array;
typedef struct cmlx_stream_s* cmlx_stream;

enum { CMLX_UINT8, CMLX_UINT32, CMLX_INT32, CMLX_FLOAT16, CMLX_BFLOAT16, CMLX_FLOAT32 };

const char* cmlx_version_built(void);
const char* cmlx_version_loaded(void);

/* Whether MLX was built with, and finds, a GPU (Metal or CUDA). */
int cmlx_gpu_available(void);
/* Bytes of memory of the GPU that MLX finds; on Apple Silicon the machine's. 0 without a GPU. */
size_t cmlx_gpu_memory(void);
size_t cmlx_active_bytes(void);

int cmlx_stream_create(int gpu, cmlx_stream* out, cmlx_error* error);
void cmlx_stream_free(cmlx_stream stream);
/* Ends MLX's own threads behind the streams that the calling thread made. */
void cmlx_streams_clear(void);
/* Waits until everything that was issued on the stream is done. */
int cmlx_stream_synchronize(cmlx_stream stream, cmlx_error* error);

/* A copy of `data`, row major. */
int cmlx_array_from(const void* data, const int32_t* shape, int rank, int dtype, cmlx_array* out,
                    cmlx_error* error);
int cmlx_zeros(cmlx_stream stream, const int32_t* shape, int rank, int dtype, cmlx_array* out,
               cmlx_error* error);
int cmlx_astype(cmlx_stream stream, cmlx_array a, int dtype, cmlx_array* out, cmlx_error* error);
/* The rows of `b` after those of `a`. */
int cmlx_append(cmlx_stream stream, cmlx_array a, cmlx_array b, cmlx_array* out, cmlx_error* error);
void cmlx_array_free(cmlx_array a);

int cmlx_array_rank(cmlx_array a);
int32_t cmlx_array_dim(cmlx_array a, int axis);
size_t cmlx_array_bytes(cmlx_array a);

/* Starts evaluation and returns. */
int cmlx_async_eval(const cmlx_array* arrays, int count, cmlx_error* error);
/* Evaluates and waits. An error inside a kernel arrives here, and in cmlx_array_copy. */
int cmlx_eval(const cmlx_array* arrays, int count, cmlx_error* error);
/* Evaluates and copies, row major; `bytes` must equal cmlx_array_bytes. */
int cmlx_array_copy(cmlx_stream stream, cmlx_array a, void* out, size_t bytes, cmlx_error* error);

#ifdef __cplusplus
}
#endif

#endif /* CMLX_H */
