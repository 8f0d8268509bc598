import CKernels
import MLXArray
import VLLMSwiftCore

/// Runs a model's forward passes. Owns its weights and its KV cache; knows no request.
public protocol Executor: AnyObject {
  /// As held in memory.
  var weightBytes: Int { get }
  /// What a step takes beside them; 0 before there is a cache.
  var workspaceBytes: Int { get }
  /// KV cache of `kvBlockTokens` tokens, all layers.
  var bytesPerBlock: Int { get }

  /// What its steps cost relative to each other.
  var stepCost: StepCost { get }

  /// Makes the KV cache. Called once, before the first step.
  func allocateCache(blocks: Int) throws

  /// Starts a step's forward pass and returns without waiting. Steps take effect in the order of
  /// issue. A layout has a part only if `stepCost.layers` is more than 1.
  /// - Parameter previous: the tokens of the step before, which tokens of the layout may name.
  /// - Returns: the logits of its logit rows; where it has none, something to wait for.
  func forward(_ layout: BatchLayout, after previous: MLXArray?) throws -> MLXArray

  /// Starts the sampling of a step, whose forward pass may still run, and returns without waiting.
  /// - Parameter rows: one for each of the logits.
  func sample(_ rows: SampledRows, of logits: MLXArray) throws -> StepResult

  /// A block's keys and values, `bytesPerBlock` bytes, in a form of this executor's own. No step may
  /// be in flight.
  /// - Throws: `unsupported`
  func contents(ofBlock block: Int32) throws -> [UInt8]
  func setContents(ofBlock block: Int32, to bytes: ArraySlice<UInt8>) throws

  /// Gives back the memory that only steps use. Called while there is nothing to run.
  func rest()

  /// The logits of the layout's logit rows, float32 [logit rows, vocabulary], lazy.
  func logits(_ layout: BatchLayout, after previous: MLXArray?) throws -> MLXArray
}

extension BatchLayout {
  /// -1 - i for the i-th token of the step before.
  var tokenCodes: [Int32] {
    tokens.map { token in
      switch token {
      case .id(let id): id
      case .sampled(let index): -1 - Int32(index)
      }
    }
  }

  /// The sequences as the ops read them, for the length of `body`.
  func withSequences<Result>(_ body: (UnsafeBufferPointer<ck_sequence>) throws -> Result) rethrows
    -> Result
  {
    let blocks = sequences.flatMap(\.blocks)
    return try blocks.withUnsafeBufferPointer { blocks in
      var first = 0
      let converted = sequences.map { sequence in
        defer { first += sequence.blocks.count }
        return ck_sequence(
          first_row: Int32(sequence.rows.lowerBound), row_count: Int32(sequence.rows.count),
          position: Int32(sequence.position), block_count: Int32(sequence.blocks.count),
          blocks: blocks.baseAddress.map { $0 + first })
      }
      return try converted.withUnsafeBufferPointer(body)
    }
  }
}

extension Attention {
  /// The op's parameters, for the length of `body`.
  func withParameters<Result>(_ body: (UnsafePointer<ck_attention>) throws -> Result) rethrows
    -> Result
  {
    try inverseFrequencies.withUnsafeBufferPointer { frequencies in
      var parameters = ck_attention(
        layer: Int32(layer), heads: Int32(heads), kv_heads: Int32(kvHeads),
        head_dim: Int32(headDim), scale: scale, window: Int32(window ?? 0), soft_cap: 0,
        inverse_frequencies: frequencies.baseAddress)
      return try body(&parameters)
    }
  }
}

extension Activation {
  var code: ck_activation {
    switch self {
    case .silu: CK_SILU
    }
  }
}
