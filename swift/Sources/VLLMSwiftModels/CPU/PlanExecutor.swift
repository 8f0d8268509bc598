import CKernels
import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles

/// Runs a model on the CPU with our own kernels: its ops are recorded once, and a step is one MLX
/// primitive that replays them.
final class PlanExecutor: Executor {
  private let stream: MLXStream
  private let config: any ArchitectureConfig
  private let decoder: any Decoder<PlanOps>
  private let weights: PackedWeights
  private let isa: ck_isa
  private let maxRows: Int
  private var cache: OpaquePointer?
  private var plan: OpaquePointer?
  private var layers = 1

  /// - Parameter maxRows: rows of the largest step.
  init(
    _ config: any ArchitectureConfig, _ checkpoint: any Checkpoint, isa: ck_isa, maxRows: Int,
    on stream: MLXStream, pause: @escaping (Int) throws -> Void
  ) throws {
    weights = PackedWeights(isa: isa)
    decoder = try config.decoder(WeightLoader(checkpoint, into: weights, pause: pause))
    (self.config, self.isa, self.maxRows, self.stream) = (config, isa, maxRows, stream)
  }

  /// What the kernels have no path for, in words; nil if they run the whole model.
  static func gap(
    for config: any ArchitectureConfig, _ checkpoint: any Checkpoint, isa: ck_isa
  ) throws -> String? {
    if let tensor = try PackedWeights.unsupported(in: checkpoint, isa: isa) {
      return "there are no CPU kernels for '\(tensor.name)', \(tensor.format) \(tensor.shape)"
    }
    guard cacheBytes(config, blocks: 1) > 0 else {
      return "the CPU kernels have no KV cache for \(config.numKeyValueHeads) heads of "
        + "\(config.headDim)"
    }
    return nil
  }

  deinit {
    ck_plan_free(plan)
    ck_kv_free(cache)
  }

  var weightBytes: Int { weights.byteCount }
  var workspaceBytes: Int { plan.map { ck_plan_bytes($0) } ?? 0 }
  var bytesPerBlock: Int { Self.cacheBytes(config, blocks: 1) }
  /// Measured with SmolLM2-135M on two cores with AVX-512 and with AVX2, from one row a step to 256
  /// and contexts up to 3,840. AVX2 differs in what attending costs beside the rest.
  var stepCost: StepCost {
    let contextPerRow: Double = isa == CK_ISA_AVX2 ? 1650 : 1900
    return StepCost(
      fixed: 4, contextPerRow: contextPerRow, contextPerSequence: 450, layers: layers)
  }

  /// 0 for shapes that the cache cannot have.
  private static func cacheBytes(_ config: any ArchitectureConfig, blocks: Int) -> Int {
    ck_kv_bytes(
      Int32(config.numHiddenLayers), Int32(config.numKeyValueHeads), Int32(config.headDim),
      Int32(clamping: blocks))
  }

  func allocateCache(blocks: Int) throws {
    try checkMLX {
      ck_kv_create(
        Int32(config.numHiddenLayers), Int32(config.numKeyValueHeads), Int32(config.headDim),
        Int32(clamping: blocks), &cache, $0)
    }
    try checkMLX { ck_plan_create(isa, Int32(maxRows), cache, &plan, $0) }
    guard let plan else { throw EngineError(.internal, "no plan was made") }
    try decoder.forward(PlanOps(plan: plan))
    var count: Int32 = 1
    try checkMLX { ck_plan_layers(plan, &count, $0) }
    layers = Int(count)
  }

  func forward(_ layout: BatchLayout, after previous: MLXArray?) throws -> MLXArray {
    let logits = try logits(layout, after: previous)
    try MLXArray.asyncEval([logits])
    return logits
  }

  func sample(_ rows: SampledRows, of logits: MLXArray) throws -> StepResult {
    guard !rows.isEmpty else { return StepResult(tokens: logits) }
    let result = try StepResult(rows, of: logits, on: stream)
    try MLXArray.asyncEval(result.arrays)
    return result
  }

  func logits(_ layout: BatchLayout, after previous: MLXArray?) throws -> MLXArray {
    let tokens = layout.tokenCodes
    let logitRows = layout.logitRows.map { Int32($0) }
    let copies = layout.copies.map { ck_copy(from: $0.from, to: $0.to) }
    return try layout.withSequences { sequences in
      try tokens.withUnsafeBufferPointer { tokens in
        try logitRows.withUnsafeBufferPointer { logitRows in
          try copies.withUnsafeBufferPointer { copies in
            var step = ck_step(
              row_count: Int32(tokens.count), sequence_count: Int32(sequences.count),
              logit_count: Int32(logitRows.count), tokens: tokens.baseAddress,
              sequences: sequences.baseAddress, logit_rows: logitRows.baseAddress, inputs: nil,
              copies: copies.baseAddress, copy_count: Int32(copies.count),
              part_count: Int32(layout.part?.rows.count ?? 0),
              part_first: Int32(layout.part?.layers.lowerBound ?? 0),
              part_end: Int32(layout.part?.layers.upperBound ?? 0))
            return try stepped(&step, after: previous)
          }
        }
      }
    }
  }

  func contents(ofBlock block: Int32) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: bytesPerBlock)
    try bytes.withUnsafeMutableBytes { bytes in
      try checkMLX { ck_kv_read(cache, block, bytes.baseAddress, $0) }
    }
    return bytes
  }

  func setContents(ofBlock block: Int32, to bytes: ArraySlice<UInt8>) throws {
    guard bytes.count == bytesPerBlock else {
      throw EngineError(
        .invalidArgument, "a block has \(bytesPerBlock) bytes, and \(bytes.count) were given")
    }
    try bytes.withUnsafeBytes { bytes in
      try checkMLX { ck_kv_write(cache, block, bytes.baseAddress, $0) }
    }
  }

  func rest() {
    if let plan { ck_plan_rest(plan) }
  }

  private func stepped(_ step: inout ck_step, after previous: MLXArray?) throws -> MLXArray {
    try stream.withHandle { stream in
      func make(_ previous: cmlx_array?) throws -> MLXArray {
        try MLXArray { ck_plan_step(plan, stream, &step, previous, $0, $1) }
      }
      guard let previous else { return try make(nil) }
      return try previous.withHandle(make)
    }
  }
}
