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
  let workspaceBytes: Int

  /// - Parameter maxRows: rows of the largest step.
  /// - Parameter maxLength: tokens of the longest sequence.
  init(
    _ config: any ArchitectureConfig, _ checkpoint: any Checkpoint, maxRows: Int, maxLength: Int,
    on stream: MLXStream,
    pause: @escaping (Int) throws -> Void
  ) throws {
    let weights = ReferenceWeights(stream: stream)
    decoder = try config.decoder(WeightLoader(checkpoint, into: weights, pause: pause))
    cache = ReferenceCache(config, stream: stream)
    weightBytes = weights.byteCount
    let ahead = Ahead(
      rows: maxRows, layers: config.numHiddenLayers, onGPU: stream.isGPU)
    workspaceBytes = Self.workspace(
      config, weights, ahead, rows: maxRows, length: maxLength,
      bytesPerPosition: cache.bytesPerPosition)
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
    cache.capacity = blocks
  }

  /// How far MLX allocates for what is issued before it frees what has run: in layers for what rows
  /// and weights take there, in copies of the keys and values of the longest sequence. Measured with
  /// MLX's own count of peak memory: docs/measuring.md.
  private struct Ahead {
    let layers: Int
    let copies: Int

    init(rows: Int, layers: Int, onGPU: Bool) {
      // A CPU stream runs ten ops behind; CUDA frees by graphs of a hundred.
      self.layers = onGPU ? min(layers, 6) : 1
      copies = onGPU ? 3 + 4 * min(50, rows) : 3 + 2 * min(10, rows)
    }
  }

  /// The most that MLX holds of a step's intermediate results at once: those of rows in a layer and
  /// the weights made float32 there, scores of all rows, and copies of keys and values.
  private static func workspace(
    _ config: any ArchitectureConfig, _ weights: ReferenceWeights, _ ahead: Ahead, rows: Int,
    length: Int, bytesPerPosition: Int
  ) -> Int {
    let heads = config.numAttentionHeads + 2 * config.numKeyValueHeads
    let row = 4 * config.hiddenSize + 3 * config.intermediateSize + 3 * heads * config.headDim
    let scores = rows * (4 * config.numAttentionHeads + 1)
    let layer = 4 * rows * row + weights.converted.all / config.numHiddenLayers
    return ahead.layers * layer + weights.converted.largest
      + length * (scores + ahead.copies * bytesPerPosition)
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
  /// Blocks at most.
  var capacity = 0
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

  /// A position's keys and values of one layer.
  var bytesPerPosition: Int { 2 * slotShape.reduce(1, *) * (dtype == .float32 ? 4 : 2) }
  var bytesPerBlock: Int { layerCount * kvBlockTokens * bytesPerPosition }

  /// Makes room for `count` blocks at least, doubling, with the old contents in front. One layer
  /// after the other: all at once would take half of the cache again.
  func reserve(blocks count: Int) throws {
    guard count > blocks else { return }
    let added = min(max(count, 2 * blocks), capacity) - blocks
    for layer in 0..<layerCount {
      if blocks == 0 {
        layers.append((try extended(nil, by: added), try extended(nil, by: added)))
      } else {
        layers[layer].keys = try extended(layers[layer].keys, by: added)
        layers[layer].values = try extended(layers[layer].values, by: added)
      }
      try MLXArray.eval([layers[layer].keys, layers[layer].values])
    }
    blocks += added
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
