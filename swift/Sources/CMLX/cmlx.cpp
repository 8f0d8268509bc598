#include "cmlx.hpp"

#include <stdexcept>

#include "mlx/version.h"

namespace mx = mlx::core;
using cmlx::boxed;
using cmlx::guarded;

#define CMLX_TEXT_(x) #x
#define CMLX_TEXT(x) CMLX_TEXT_(x)

namespace {

mx::Shape shape_of(const int32_t* shape, int rank) { return mx::Shape(shape, shape + rank); }

mx::Dtype dtype_of(int dtype) {
  switch (dtype) {
    case CMLX_UINT8:
      return mx::uint8;
    case CMLX_UINT32:
      return mx::uint32;
    case CMLX_INT32:
      return mx::int32;
    case CMLX_FLOAT16:
      return mx::float16;
    case CMLX_BFLOAT16:
      return mx::bfloat16;
    case CMLX_FLOAT32:
      return mx::float32;
  }
  throw std::invalid_argument("unknown dtype code " + std::to_string(dtype));
}

std::vector<mx::array> values_of(const cmlx_array* arrays, int count) {
  std::vector<mx::array> values;
  values.reserve(count);
  for (int i = 0; i < count; i++) values.push_back(arrays[i]->value);
  return values;
}

}  // namespace

extern "C" {

const char* cmlx_version_built(void) {
  return CMLX_TEXT(MLX_VERSION_MAJOR) "." CMLX_TEXT(MLX_VERSION_MINOR) "." CMLX_TEXT(
      MLX_VERSION_PATCH);
}

const char* cmlx_version_loaded(void) { return mx::version(); }

int cmlx_gpu_available(void) {
  try {
    return mx::is_available(mx::Device::gpu);
  } catch (...) {
    return 0;
  }
}

size_t cmlx_gpu_memory(void) {
  try {
    if (!mx::is_available(mx::Device::gpu)) return 0;
    const auto& info = mx::device_info(mx::Device::gpu);
    for (const char* name : {"total_memory", "memory_size"}) {  // CUDA's, Metal's
      auto found = info.find(name);
      if (found != info.end()) return std::get<size_t>(found->second);
    }
    return 0;
  } catch (...) {
    return 0;
  }
}

size_t cmlx_active_bytes(void) { return mx::get_active_memory(); }

int cmlx_stream_create(int gpu, cmlx_stream* out, cmlx_error* error) {
  return guarded(error, [&] {
    *out = new cmlx_stream_s{mx::new_stream(gpu ? mx::Device::gpu : mx::Device::cpu)};
  });
}

void cmlx_stream_free(cmlx_stream stream) { delete stream; }

void cmlx_streams_clear(void) {
  try {
    mx::clear_streams();
  } catch (...) {
  }
}

int cmlx_stream_synchronize(cmlx_stream stream, cmlx_error* error) {
  return guarded(error, [&] { mx::synchronize(stream->value); });
}

int cmlx_array_from(const void* data, const int32_t* shape, int rank, int dtype, cmlx_array* out,
                    cmlx_error* error) {
  return guarded(error, [&] {
    mx::Shape dims = shape_of(shape, rank);
    mx::Dtype type = dtype_of(dtype);
    size_t bytes = mx::size_of(type);
    for (auto dim : dims) bytes *= dim;
    auto buffer = mx::allocator::malloc(bytes);
    std::memcpy(buffer.buffer().raw_ptr(), data, bytes);
    *out = boxed(mx::array(std::move(buffer), dims, type));
  });
}

int cmlx_zeros(cmlx_stream stream, const int32_t* shape, int rank, int dtype, cmlx_array* out,
               cmlx_error* error) {
  return guarded(error, [&] {
    *out = boxed(mx::zeros(shape_of(shape, rank), dtype_of(dtype), stream->value));
  });
}

int cmlx_astype(cmlx_stream stream, cmlx_array a, int dtype, cmlx_array* out, cmlx_error* error) {
  return guarded(error,
                 [&] { *out = boxed(mx::astype(a->value, dtype_of(dtype), stream->value)); });
}

int cmlx_append(cmlx_stream stream, cmlx_array a, cmlx_array b, cmlx_array* out,
                cmlx_error* error) {
  return guarded(error,
                 [&] { *out = boxed(mx::concatenate({a->value, b->value}, 0, stream->value)); });
}

void cmlx_array_free(cmlx_array a) { delete a; }

int cmlx_array_rank(cmlx_array a) { return static_cast<int>(a->value.ndim()); }

int32_t cmlx_array_dim(cmlx_array a, int axis) { return a->value.shape(axis); }

size_t cmlx_array_bytes(cmlx_array a) { return a->value.nbytes(); }

int cmlx_async_eval(const cmlx_array* arrays, int count, cmlx_error* error) {
  return guarded(error, [&] { mx::async_eval(values_of(arrays, count)); });
}

int cmlx_eval(const cmlx_array* arrays, int count, cmlx_error* error) {
  return guarded(error, [&] {
    mx::eval(values_of(arrays, count));
    for (int i = 0; i < count; i++) cmlx::check(*arrays[i]);
  });
}

int cmlx_array_copy(cmlx_stream stream, cmlx_array a, void* out, size_t bytes, cmlx_error* error) {
  return guarded(error, [&] {
    if (bytes != a->value.nbytes()) {
      throw std::invalid_argument("the buffer and the array differ in size");
    }
    mx::array value = a->value;
    value.eval();
    cmlx::check(*a);
    // Only if need be: an op issued now would wait for the step that is in flight.
    if (!value.flags().row_contiguous) {
      value = mx::contiguous(value, false, stream->value);
      value.eval();
    }
    std::memcpy(out, value.data<uint8_t>(), bytes);
  });
}

}  // extern "C"
