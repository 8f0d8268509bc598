import CKernels
import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles

/// Runs a model op by op with stock MLX ops: on any device, and as the oracle of the others.
final class ReferenceExecutor: Executor {
  private let stream: MLXStream
  private let decoder: any Decoder<ReferenceOps>
  private let config: any ArchitectureConfig
  private let cache: ReferenceCache

  let weightBytes: Int
  /// Intermediate results are MLX's to allocate, and gone after a step.
  let workspaceBytes = 0

  init(
    _ config: any ArchitectureConfig, _ checkpoint: any Checkpoint, on stream: MLXStream,
    pause: @escaping (Int) throws -> Void
  ) throws {
    let weights = ReferenceWeights(stream: stream)
    decoder = try config.decoder(WeightLoader(checkpoint, into: weights, pause: pause))
    cache = ReferenceCache(config, stream: stream)
    weightBytes = weights.byteCount
    self.config = config
    self.stream = stream
  }

  var bytesPerBlock: Int { cache.bytesPerBlock }
  /// On a GPU, from the step times of stock MLX ops at Qwen3-0.6B's shape on an H200: 3 ms for one
  /// row, 9.7 for 64.
  var stepCost: StepCost {
    StepCost(fixed: stream.isGPU ? 28 : 4, contextPerRow: 2000, contextPerSequence: 540)
  }

  func allocateCache(blocks: Int) throws {
    // Grows with use instead: MLX has no memory that costs nothing until it is written.
  }

  func forward(_ layout: BatchLayout, after previous: MLXArray?) throws -> MLXArray {
    let logits = try logits(layout, after: previous)
    guard !layout.logitRows.isEmpty else {
      try MLXArray.asyncEval(cache.arrays)
      return cache.layers[0].keys
    }
    try MLXArray.asyncEval([logits] + cache.arrays)
    return logits
  }

  func sample(_ rows: SampledRows, of logits: MLXArray) throws -> StepResult {
    guard !rows.isEmpty else { return StepResult(tokens: logits) }
    // Stock ops keep no state between steps and see no NaN, so they draw where nothing else can.
    let result =
      stream.isGPU ? try drawn(rows, of: logits) : try StepResult(rows, of: logits, on: stream)
    try MLXArray.asyncEval(result.arrays)
    return result
  }

  private func drawn(_ rows: SampledRows, of logits: MLXArray) throws -> StepResult {
    let tokens = try rows.withParameters { rows in
      try stream.withHandle { stream in
        try logits.withHandle { logits in
          try MLXArray { ck_ref_sample(stream, logits, rows, Int32(rows.count), $0, $1) }
        }
      }
    }
    return StepResult(tokens: tokens)
  }

  func contents(ofBlock block: Int32) throws -> [UInt8] { throw Self.noFiles }
  func setContents(ofBlock block: Int32, to bytes: ArraySlice<UInt8>) throws { throw Self.noFiles }

  private static let noFiles = EngineError(
    .unsupported, "prefixes cannot be saved or loaded with the kernels 'reference'")

  /// Its buffers are MLX's, in a cache that belongs to the whole process.
  func rest() {}

  func logits(_ layout: BatchLayout, after previous: MLXArray?) throws -> MLXArray {
    let blocks = layout.sequences.flatMap(\.blocks) + layout.copies.flatMap { [$0.from, $0.to] }
    try cache.reserve(blocks: Int(blocks.max() ?? 0) + 1)
    try cache.copy(layout.copies)
    let codes = layout.tokenCodes
    let tokens = try stream.withHandle { stream in
      func make(_ previous: cmlx_array?) throws -> MLXArray {
        try MLXArray { ck_ref_tokens(stream, codes, Int32(codes.count), previous, $0, $1) }
      }
      guard let previous else { return try make(nil) }
      return try previous.withHandle(make)
    }
    return try decoder.forward(
      ReferenceOps(layout: layout, tokens: tokens, cache: cache, stream: stream))
  }
}

/// Keys and values of all layers, as arrays [blocks * kvBlockTokens, kvHeads, headDim]. Float32 on
/// the CPU, where it is the oracle; float16 on a GPU.
final class ReferenceCache {
  private(set) var layers: [(keys: MLXArray, values: MLXArray)] = []
  private let layerCount: Int
  private let slotShape: [Int]
  private let dtype: MLXArray.DType
  private let stream: MLXStream
  private var blocks = 0

  init(_ config: any ArchitectureConfig, stream: MLXStream) {
    layerCount = config.numHiddenLayers
    slotShape = [config.numKeyValueHeads, config.headDim]
    dtype = stream.isGPU ? .float16 : .float32
    self.stream = stream
  }

  var arrays: [MLXArray] { layers.flatMap { [$0.keys, $0.values] } }

  var bytesPerBlock: Int {
    2 * layerCount * kvBlockTokens * slotShape.reduce(1, *) * (dtype == .float32 ? 4 : 2)
  }

  /// Makes room for `count` blocks at least, doubling, with the old contents in front.
  func reserve(blocks count: Int) throws {
    guard count > blocks else { return }
    let grown = max(count, 2 * blocks)
    layers = try (0..<layerCount).map { layer in
      let old = layers.isEmpty ? nil : layers[layer]
      let added = grown - blocks
      return (try extended(old?.keys, by: added), try extended(old?.values, by: added))
    }
    blocks = grown
  }

  /// Copies blocks, which must be there.
  func copy(_ copies: [BatchLayout.Copy]) throws {
    for array in copies.isEmpty ? [] : arrays {
      try stream.withHandle { stream in
        try array.withHandle { array in
          for copy in copies {
            try checkMLX { ck_ref_copy_block(stream, array, copy.from, copy.to, $0) }
          }
        }
      }
    }
  }

  private func extended(_ old: MLXArray?, by blocks: Int) throws -> MLXArray {
    let room = try MLXArray.zeros([blocks * kvBlockTokens] + slotShape, dtype: dtype, on: stream)
    return try old?.appending(room, on: stream) ?? room
  }
}
