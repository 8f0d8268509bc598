// Keys and values of all layers in blocks of CK_BLOCK_TOKENS tokens, 16 bits an element.
//
// An element is an int16 with one float32 scale a key (or value) vector: value = scale * q. A
// vector is scaled to a length of kKeyNorm, or to a largest magnitude of kKeyLargest where that is
// less, so that the dot product of two such vectors fits an int32, exactly and in any order of
// summation (Cauchy-Schwarz). Its rounding error relative to the vector's length is at most that of
// float16, and the range is float32's: no model's keys overflow it. Values are scaled to a largest
// magnitude of kValueLargest. A vector that holds NaN or an infinity gets a NaN scale; one whose
// largest magnitude is below 1e-30 counts as zero.
//
// A record is one block of one KV head in one layer, `width` being head_dim rounded up to 16, the
// columns beyond head_dim zero:
//   keys          int16 [2 tiles][width / 2][16 tokens][2 columns]: tokens in lanes, so that q . k
//                 needs no sum across lanes, and pairs of columns as dot products of int16 take
//                 them
//   values        int16 [16][width][2 tokens]
//   key scales    float [32]
//   value scales  float [32]
// Records lie [block][layer][KV head]: a block is one piece of memory, and huge pages waste at most
// the rest of one.
#ifndef CK_KV_HPP
#define CK_KV_HPP

#include <cstddef>
#include <cstdint>
#include <memory>

#include "../include/ckernels.h"

namespace ck {

constexpr float kKeyNorm = 46000, kKeyLargest = 32767, kValueLargest = 16383;
constexpr int kTileTokens = 16;
static_assert(CK_BLOCK_TOKENS == 2 * kTileTokens);

/// Where things lie in a record.
struct RecordLayout {
  int width;

  constexpr explicit RecordLayout(int head_dim) : width((head_dim + 15) / 16 * 16) {}

  constexpr size_t tile_bytes() const { return size_t{kTileTokens} * width * sizeof(int16_t); }
  constexpr size_t values() const { return 2 * tile_bytes(); }
  constexpr size_t key_scales() const { return 4 * tile_bytes(); }
  constexpr size_t value_scales() const { return key_scales() + CK_BLOCK_TOKENS * sizeof(float); }
  constexpr size_t bytes() const { return value_scales() + CK_BLOCK_TOKENS * sizeof(float); }
};

class KvCache {
 public:
  /// Throws std::invalid_argument, and std::bad_alloc where address space is refused.
  KvCache(int layers, int kv_heads, int head_dim, int blocks);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  int layers() const { return layers_; }
  int kv_heads() const { return kv_heads_; }
  int head_dim() const { return head_dim_; }
  int blocks() const { return blocks_; }

  uint8_t* record(int block, int layer, int kv_head) const {
    return base_ + (size_t(block) * layers_ + layer) * kv_heads_ * record_bytes_ +
           kv_head * record_bytes_;
  }

  /// Makes a block's keys and values, of all layers and heads, like another one's.
  void copy_block(int from, int to);

  /// Throws std::invalid_argument where a number is out of range or the product is too large.
  static size_t bytes(int layers, int kv_heads, int head_dim, int blocks);

 private:
  int layers_, kv_heads_, head_dim_, blocks_;
  size_t record_bytes_, mapped_;
  void* mapping_;
  uint8_t* base_;
};

}  // namespace ck

struct ck_kv {
  std::shared_ptr<ck::KvCache> cache;  // plans and their queued steps keep it
};

#endif  // CK_KV_HPP
