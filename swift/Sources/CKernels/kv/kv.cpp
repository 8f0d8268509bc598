#include "kv.hpp"

#include <sys/mman.h>

#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "../../CMLX/include/cmlx.hpp"

namespace ck {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMostBytes = size_t{1} << 46;  // address space of a process, with a margin

void check(const char* name, int value, int least, int most) {
  if (value < least || value > most) {
    throw std::invalid_argument("a KV cache's " + std::string(name) + " must be " +
                                std::to_string(least) + " to " + std::to_string(most) + ", not " +
                                std::to_string(value));
  }
}

}  // namespace

size_t KvCache::bytes(int layers, int kv_heads, int head_dim, int blocks) {
  check("layers", layers, 1, 4096);
  check("KV heads", kv_heads, 1, 4096);
  check("head size", head_dim, 8, 1024);
  check("blocks", blocks, 1, 1 << 26);
  if (head_dim % 8 != 0) {
    throw std::invalid_argument("a KV cache's head size must be a multiple of 8, not " +
                                std::to_string(head_dim));
  }
  size_t a_block = RecordLayout(head_dim).bytes() * layers * kv_heads;
  if (a_block > kMostBytes / blocks) {
    throw std::invalid_argument("a KV cache of " + std::to_string(blocks) + " blocks of " +
                                std::to_string(a_block) + " bytes is too large to address");
  }
  return a_block * blocks;
}

KvCache::KvCache(int layers, int kv_heads, int head_dim, int blocks)
    : layers_(layers),
      kv_heads_(kv_heads),
      head_dim_(head_dim),
      blocks_(blocks),
      record_bytes_(RecordLayout(head_dim).bytes()) {
  size_t wanted = bytes(layers, kv_heads, head_dim, blocks);
  mapped_ = wanted + kHugePage;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#if defined(MAP_NORESERVE)
  flags |= MAP_NORESERVE;
#endif
  mapping_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  auto address = (reinterpret_cast<uintptr_t>(mapping_) + kHugePage - 1) / kHugePage * kHugePage;
  base_ = reinterpret_cast<uint8_t*>(address);
#if defined(MADV_HUGEPAGE)
  madvise(base_, wanted, MADV_HUGEPAGE);
#endif
}

void KvCache::copy_block(int from, int to) {
  if (from != to)
    std::memcpy(record(to, 0, 0), record(from, 0, 0), record_bytes_ * layers_ * kv_heads_);
}

KvCache::~KvCache() { munmap(mapping_, mapped_); }

}  // namespace ck

extern "C" {

int ck_kv_create(int layers, int kv_heads, int head_dim, int blocks, ck_kv** out,
                 cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    *out = new ck_kv{std::make_shared<ck::KvCache>(layers, kv_heads, head_dim, blocks)};
  });
}

void ck_kv_free(ck_kv* kv) { delete kv; }

size_t ck_kv_bytes(int layers, int kv_heads, int head_dim, int blocks) {
  size_t bytes = 0;
  cmlx::guarded(nullptr, [&] { bytes = ck::KvCache::bytes(layers, kv_heads, head_dim, blocks); });
  return bytes;
}

}  // extern "C"
