// attend: rotary embedding of q and k, append of k and v to the cache, ragged causal attention with
// grouped query heads, sliding window and soft cap.
//
// qkv: float32 [rows, (heads + 2 kv_heads) * head_dim]; out: float32 [rows, heads * head_dim].
//   rotation   halves layout: pairs (i, i + head_dim / 2), angle position * inverse_frequencies[i]
//   score      scale * dot(q, k), then soft_cap * tanh(score / soft_cap)
//   out        softmax(score) . v
// q, k and v are int16 with one float32 scale a vector (kv/kv.hpp). Order of reduction, of one
// query:
//   score      an int32 dot product, exact in any order, times the two scales
//   span       kSpanTokens keys at fixed positions. The largest score m; weights exp(score - m);
//              their sum by key index modulo the register's lanes, then across lanes; and out, per
//              kSumTokens keys: weights times value scales become int16, one scale for the 64, the
//              sum over keys is an int32, exact; these sums are added in order, in float32
//   spans      merged in order (Milakov and Gimelshein, 2018, arXiv:1805.02867)
// So the bits of a row depend on its own sequence and the instruction set alone: not on other rows,
// the number of threads, the chunk that a row was prefilled in or the piece that computed it.
// A row that sees a key or value vector with NaN or an infinity, or whose score overflows float32,
// comes out as NaN in that head.
#ifndef CK_ATTEND_HPP
#define CK_ATTEND_HPP

#include <memory>

#include "../kv/kv.hpp"
#include "../plan/node.hpp"
#include "rotary.hpp"
#include "schedule.hpp"

namespace ck {

/// `attention` must fit the cache; `rotary` and `schedule` are those of its frequencies and shape.
std::shared_ptr<Node> make_attend(ck_isa isa, RowBuffer qkv, const ck_attention& attention,
                                  std::shared_ptr<KvCache> kv, std::shared_ptr<Rotary> rotary,
                                  std::shared_ptr<Schedule> schedule, RowBuffer out);

}  // namespace ck

#endif  // CK_ATTEND_HPP
