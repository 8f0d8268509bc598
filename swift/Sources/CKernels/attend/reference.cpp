#include "../reference/reference.hpp"

#include <limits>
#include <span>

namespace {

namespace mx = mlx::core;

/// The rotary embedding of x [rows, heads, head_dim], its first row at `position`.
/// Su et al., 2021 (arXiv:2104.09864).
mx::array rotated(const mx::array& x, const ck_attention& a, int position, mx::Stream s) {
  mx::array inverse(a.inverse_frequencies, {a.head_dim / 2}, mx::float32);
  mx::array heads_first = mx::expand_dims(mx::transpose(x, {1, 0, 2}, s), 0, s);
  mx::array y = mx::fast::rope(heads_first, a.head_dim, false, std::nullopt, 1.0f, position,
                               mx::reciprocal(inverse, s), s);
  return mx::transpose(mx::squeeze(y, 0, s), {1, 0, 2}, s);
}

/// Writes rows [count, kv_heads, head_dim] into the slots that the block table names: one slice an
/// unbroken run of slots, since slice_update works in place on its only owner and scatter does not.
mx::array appended(mx::array pool, const mx::array& rows, const ck_sequence& seq, mx::Stream s) {
  auto slot_of = [&](int position) {
    return seq.blocks[position / CK_BLOCK_TOKENS] * CK_BLOCK_TOKENS + position % CK_BLOCK_TOKENS;
  };
  int heads = rows.shape(1), dim = rows.shape(2);
  for (int row = 0; row < seq.row_count;) {
    int slot = slot_of(seq.position + row), run = 1;
    while (row + run < seq.row_count && slot_of(seq.position + row + run) == slot + run) run++;
    mx::array part = mx::slice(rows, {row, 0, 0}, {row + run, heads, dim}, s);
    pool = mx::slice_update(pool, mx::astype(part, pool.dtype(), s), {slot, 0, 0},
                            {slot + run, heads, dim}, s);
    row += run;
  }
  return pool;
}

/// The first `count` positions of a sequence: [kv_heads, count, head_dim].
mx::array gathered(const mx::array& pool, const ck_sequence& seq, int count, mx::Stream s) {
  int heads = pool.shape(1), dim = pool.shape(2);
  int blocks = (count + CK_BLOCK_TOKENS - 1) / CK_BLOCK_TOKENS;
  mx::array blocked = mx::reshape(pool, {-1, CK_BLOCK_TOKENS, heads, dim}, s);
  mx::array taken = mx::take(blocked, mx::array(seq.blocks, {blocks}, mx::int32), 0, s);
  mx::array flat = mx::reshape(taken, {blocks * CK_BLOCK_TOKENS, heads, dim}, s);
  return mx::transpose(mx::slice(flat, {0, 0, 0}, {count, heads, dim}, s), {1, 0, 2}, s);
}

/// Which positions of a sequence each of its rows sees: bool [rows, positions].
mx::array visible(const ck_sequence& seq, int window, mx::Stream s) {
  int positions = seq.position + seq.row_count;
  mx::array query = mx::expand_dims(mx::arange(seq.position, positions, s), 1, s);
  mx::array key = mx::expand_dims(mx::arange(0, positions, s), 0, s);
  mx::array causal = mx::less_equal(key, query, s);
  if (window == 0) return causal;
  mx::array oldest = mx::subtract(query, mx::array(window, mx::int32), s);
  return mx::logical_and(causal, mx::greater(key, oldest, s), s);
}

/// q [heads, rows, dim], k and v [kv_heads, positions, dim] -> [heads, rows, dim]
mx::array fused_attention(const mx::array& q, const mx::array& k, const mx::array& v,
                          const ck_attention& a, const ck_sequence& seq, mx::Stream s) {
  // The newest row of all sees everything, and a mask would cost more ops than the attention.
  bool masked = seq.row_count > 1 || a.window != 0;
  auto mask = masked ? std::optional(visible(seq, a.window, s)) : std::nullopt;
  auto batch = [&](const mx::array& x) { return mx::expand_dims(x, 0, s); };
  return mx::squeeze(
      mx::fast::scaled_dot_product_attention(batch(q), batch(k), batch(v), a.scale,
                                             masked ? "array" : "", mask, {}, false, s),
      0, s);
}

/// As `fused_attention`, with scores cap * tanh(score / cap), which MLX's does not have.
mx::array capped_attention(const mx::array& q, const mx::array& k, const mx::array& v,
                           const ck_attention& a, const ck_sequence& seq, mx::Stream s) {
  int group = a.heads / a.kv_heads;
  mx::array keys = mx::repeat(k, group, 0, s), values = mx::repeat(v, group, 0, s);
  mx::array scaled = mx::multiply(q, mx::array(a.scale), s);
  mx::array scores = mx::matmul(scaled, mx::transpose(keys, {0, 2, 1}, s), s);
  mx::array cap(a.soft_cap);
  scores = mx::multiply(cap, mx::tanh(mx::divide(scores, cap, s), s), s);
  scores = mx::where(visible(seq, a.window, s), scores,
                     mx::array(-std::numeric_limits<float>::infinity()), s);
  return mx::matmul(mx::softmax(scores, -1, true, s), values, s);
}

}  // namespace

extern "C" int ck_ref_attend(cmlx_stream stream, cmlx_array qkv, const ck_attention* attend,
                             cmlx_array keys, cmlx_array values, const ck_sequence* sequences,
                             int count, cmlx_array* out, cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    mx::Stream s = stream->value;
    const ck_attention& a = *attend;
    std::span<const ck_sequence> all(sequences, static_cast<size_t>(count));
    auto columns = [&](const ck_sequence& seq, int from, int heads) {
      int first = seq.first_row, last = first + seq.row_count;
      mx::array part =
          mx::slice(qkv->value, {first, from * a.head_dim}, {last, (from + heads) * a.head_dim}, s);
      return mx::reshape(part, {seq.row_count, heads, a.head_dim}, s);
    };
    // All of them before any is read: a reader is an owner, and a pool with two is copied.
    for (const ck_sequence& seq : all) {
      mx::array k = rotated(columns(seq, a.heads, a.kv_heads), a, seq.position, s);
      mx::array v = columns(seq, a.heads + a.kv_heads, a.kv_heads);
      keys->value = appended(std::move(keys->value), k, seq, s);
      values->value = appended(std::move(values->value), v, seq, s);
    }
    std::vector<mx::array> mixed;
    for (const ck_sequence& seq : all) {
      mx::array q = rotated(columns(seq, 0, a.heads), a, seq.position, s);
      int context = seq.position + seq.row_count;
      mx::array k = gathered(keys->value, seq, context, s);
      mx::array v = gathered(values->value, seq, context, s);
      auto attention = a.soft_cap == 0 ? fused_attention : capped_attention;
      mx::array y = attention(mx::transpose(q, {1, 0, 2}, s), k, v, a, seq, s);
      mixed.push_back(
          mx::reshape(mx::transpose(y, {1, 0, 2}, s), {seq.row_count, a.heads * a.head_dim}, s));
    }
    *out = cmlx::boxed(count == 1 ? mixed[0] : mx::concatenate(mixed, 0, s));
  });
}

extern "C" int ck_ref_copy_block(cmlx_stream stream, cmlx_array pool, int from, int to,
                                 cmlx_error* error) {
  return cmlx::guarded(error, [&] {
    mx::Stream s = stream->value;
    int heads = pool->value.shape(1), dim = pool->value.shape(2);
    auto slot = [](int block) { return block * CK_BLOCK_TOKENS; };
    // A copy first: a slice of the pool would be its second owner, and no update in place.
    mx::array source = mx::contiguous(
        mx::slice(pool->value, {slot(from), 0, 0}, {slot(from + 1), heads, dim}, s), false, s);
    pool->value = mx::slice_update(std::move(pool->value), source, {slot(to), 0, 0},
                                   {slot(to + 1), heads, dim}, s);
  });
}
