import CKernels
import MLXArray

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// What an attention looks like, but for its layer.
struct AttentionShape: CustomStringConvertible, Sendable {
  var heads: Int
  var kvHeads: Int
  var headDim: Int
  var window = 0
  var softCap: Float = 0

  var columns: Int { (heads + 2 * kvHeads) * headDim }
  var outputs: Int { heads * headDim }
  var description: String {
    "\(heads) heads, \(kvHeads) KV heads of \(headDim), window \(window), cap \(softCap)"
  }

  func withAttention<Result>(
    layer: Int = 0, _ body: (inout ck_attention) throws -> Result
  ) rethrows -> Result {
    let frequencies = (0..<headDim / 2).map { powf(10_000, -2 * Float($0) / Float(headDim)) }
    return try frequencies.withUnsafeBufferPointer { frequencies in
      var attention = ck_attention(
        layer: Int32(layer), heads: Int32(heads), kv_heads: Int32(kvHeads),
        head_dim: Int32(headDim), scale: 1 / sqrtf(Float(headDim)), window: Int32(window),
        soft_cap: softCap, inverse_frequencies: frequencies.baseAddress)
      return try body(&attention)
    }
  }
}

/// Some rows of a sequence that are to be attended: `rows` from `position` on.
struct Chunk {
  var blocks: [Int32]
  var position: Int
  var rows: Int

  var end: Int { position + rows }
}

/// Calls `body` with C's form of the chunks, one after another in the rows of a step.
func withSequences<Result>(
  _ chunks: [Chunk], _ body: ([ck_sequence]) throws -> Result
) rethrows -> Result {
  func add(_ rest: ArraySlice<Chunk>, _ sequences: [ck_sequence]) throws -> Result {
    guard let chunk = rest.first else { return try body(sequences) }
    return try chunk.blocks.withUnsafeBufferPointer { blocks in
      let first = sequences.last.map { $0.first_row + $0.row_count } ?? 0
      let sequence = ck_sequence(
        first_row: first, row_count: Int32(chunk.rows), position: Int32(chunk.position),
        block_count: Int32(blocks.count), blocks: blocks.baseAddress)
      return try add(rest.dropFirst(), sequences + [sequence])
    }
  }
  return try add(chunks[...], [])
}

/// A plan of one input and one attention, with its cache.
final class AttendPlan {
  let shape: AttentionShape
  private let plan: OpaquePointer
  private let cache: OpaquePointer

  init(_ shape: AttentionShape, _ isa: ck_isa, blocks: Int, maxRows: Int) throws {
    self.shape = shape
    var cache: OpaquePointer?
    try checkMLX {
      ck_kv_create(1, Int32(shape.kvHeads), Int32(shape.headDim), Int32(blocks), &cache, $0)
    }
    self.cache = cache!
    var plan: OpaquePointer?
    try checkMLX { ck_plan_create(isa, Int32(maxRows), cache, &plan, $0) }
    self.plan = plan!
    var x: ck_rows = -1
    var y: ck_rows = -1
    try checkMLX { ck_plan_input(plan, Int32(shape.columns), &x, $0) }
    try shape.withAttention { attention in
      try checkMLX { ck_plan_attend(plan, x, &attention, &y, $0) }
    }
  }

  deinit {
    ck_plan_free(plan)
    ck_kv_free(cache)
  }

  /// One step over `chunks`, a sequence's rows being `rows(of:)` by position.
  func step(
    _ chunks: [(Chunk, sequence: [Float])], on stream: MLXStream
  ) throws -> [[Float]] {
    let columns = shape.columns
    let inputs = chunks.flatMap { chunk, sequence in
      sequence[chunk.position * columns..<chunk.end * columns]
    }
    let result = try withSequences(chunks.map(\.0)) { sequences in
      try sequences.withUnsafeBufferPointer { sequences in
        try inputs.withUnsafeBufferPointer { inputs in
          var step = ck_step(
            row_count: Int32(inputs.count / columns), sequence_count: Int32(sequences.count),
            logit_count: 0, tokens: nil, sequences: sequences.baseAddress, logit_rows: nil,
            inputs: inputs.baseAddress, copies: nil, copy_count: 0,
            part_count: 0, part_first: 0, part_end: 0)
          return try stream.withHandle { stream in
            try MLXArray { ck_plan_step(plan, stream, &step, nil, $0, $1) }
          }
        }
      }
    }
    let rows = try result.elements(of: Float.self, on: stream)
    var outputs: [[Float]] = []
    var first = 0
    for (chunk, _) in chunks {
      outputs.append(Array(rows[first..<first + chunk.rows * shape.outputs]))
      first += chunk.rows * shape.outputs
    }
    return outputs
  }

  /// A whole sequence from position 0, in chunks of the given sizes.
  func run(
    _ sequence: [Float], blocks: [Int32], chunks: [Int], on stream: MLXStream
  ) throws -> [Float] {
    var position = 0
    return try chunks.flatMap { rows in
      defer { position += rows }
      let chunk = Chunk(blocks: blocks, position: position, rows: rows)
      return try step([(chunk, sequence)], on: stream)[0]
    }
  }
}

/// The same attention over a whole sequence, of stock MLX ops.
func attendReference(
  _ shape: AttentionShape, _ sequence: [Float], on stream: MLXStream
) throws -> [Float] {
  let rows = sequence.count / shape.columns
  let blocks = (rows + Int(CK_BLOCK_TOKENS) - 1) / Int(CK_BLOCK_TOKENS)
  func pool() throws -> MLXArray {
    try .zeros(
      [blocks * Int(CK_BLOCK_TOKENS), shape.kvHeads, shape.headDim], dtype: .float32, on: stream)
  }
  let qkv = try sequence.withUnsafeBytes {
    try MLXArray(bytes: $0, shape: [rows, shape.columns], dtype: .float32)
  }
  let keys = try pool()
  let values = try pool()
  let chunk = Chunk(blocks: (0..<Int32(blocks)).map { $0 }, position: 0, rows: rows)
  let result = try shape.withAttention { attention in
    try withSequences([chunk]) { sequences in
      try stream.withHandle { stream in
        try qkv.withHandle { qkv in
          try keys.withHandle { keys in
            try values.withHandle { values in
              try MLXArray {
                ck_ref_attend(stream, qkv, &attention, keys, values, sequences, 1, $0, $1)
              }
            }
          }
        }
      }
    }
  }
  return try result.elements(of: Float.self, on: stream)
}
