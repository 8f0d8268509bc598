import CKernels
import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles

/// How a model is to be loaded.
public struct ModelOptions: Sendable {
  /// The raw values are those of `vllm_swift.h`.
  public enum Device: Int32, Sendable {
    case auto = 0
    case cpu = 1
    case gpu = 2
  }

  /// Which implementation of the ops. The raw values are those of `vllm_swift.h`.
  public enum Kernels: Int32, Sendable {
    case auto = 0
    case reference = 1
    case avx2 = 2
    case avx512VNNI = 3
    case neon = 4
    case avx512BF16 = 5
    case neonBF16 = 6
  }

  public var device = Device.auto
  public var kernels = Kernels.auto
  /// Sequences that run at once, and rows of one step. Nil: a default.
  public var maxSequences: Int?
  public var maxRows: Int?
  /// Of the whole KV cache. Nil: what the budget leaves, or four sequences of full length.
  public var cacheTokens: Int?
  /// Nil: what the model was trained for.
  public var maxModelLength: Int?
  /// Bytes for weights, KV cache and workspace. Nil: no bound of ours.
  public var memoryBudget: Int?

  public init() {}
}

/// A loaded model: its executor, and what it can serve.
public struct Model {
  private static let defaultRows = 256
  private static let defaultSequences = 256
  private static let mostRows = 65536

  /// Rows of the largest step; longer prompts are computed in chunks.
  public let maxRows: Int
  public let maxSequences: Int

  public let executor: any Executor
  public let limits: RequestLimits
  public let hiddenSize: Int
  public let device: ModelOptions.Device
  public let kernels: ModelOptions.Kernels
  /// Why `auto` fell back to the reference, or empty.
  public let kernelsNote: String
  public let cacheBlocks: Int

  /// - Parameter pause: called after each matrix of weights, with its bytes in the checkpoint; ends the
  ///   loading if it throws.
  /// - Throws: `unsupportedArchitecture`, `unsupportedQuantization`, `modelCorrupt`, `memoryBudget`,
  ///   `deviceUnavailable`, `invalidArgument`, `backend`.
  public init(
    _ checkpoint: any Checkpoint, _ options: ModelOptions, on streams: Streams,
    pause: @escaping (Int) throws -> Void
  ) throws {
    let config = try Architecture.config(of: checkpoint)
    try checkpoint.validate()
    (maxRows, maxSequences) = try Self.stepLimits(options)
    let logitRows = min(maxRows, maxSequences + Scheduler.maxScoredRows)
    device = try streams.resolve(options.device)
    let budget = MemoryBudget(
      bytes: options.memoryBudget, logitBytes: 2 * 4 * logitRows * config.vocabSize,
      cacheTokens: options.cacheTokens, machineBytes: Machine.memoryBytes(of: device))
    try budget.checkWeights(of: checkpoint)
    let length = try Self.length(options, config, checkpoint)
    let stream = try streams.stream(device)
    (kernels, kernelsNote) = try Self.resolve(options.kernels, device, config, checkpoint)
    if kernels == .reference {
      executor = try ReferenceExecutor(
        config, checkpoint, maxRows: maxRows, maxLength: length, on: stream, pause: pause)
    } else {
      executor = try PlanExecutor(
        config, checkpoint, isa: kernels.isa, maxRows: maxRows, on: stream, pause: pause)
    }
    // The workspace is known once there is a cache to plan with; blocks too many are address space
    // that is never touched.
    let most = try budget.cacheBlocks(for: executor, maxModelLength: length)
    try executor.allocateCache(blocks: most)
    cacheBlocks = try budget.cacheBlocks(for: executor, maxModelLength: length)
    executor.rest()
    ck_trim_memory()
    hiddenSize = config.hiddenSize
    limits = RequestLimits(
      vocabularySize: config.vocabSize, maxModelLength: length,
      cacheTokens: cacheBlocks * kvBlockTokens, onlyPlainDraws: device == .gpu)
  }

  /// Gives the system back what the process has freed and its allocator keeps: opening a model leaves
  /// tens of megabytes of that behind, the tokenizer's JSON among them. For when there is no work.
  public static func trimMemory() { ck_trim_memory() }

  private static func length(
    _ options: ModelOptions, _ config: any ArchitectureConfig, _ checkpoint: any Checkpoint
  ) throws -> Int {
    let trained = config.maxPositionEmbeddings
    guard let length = options.maxModelLength else { return trained }
    guard (2...trained).contains(length) else {
      throw EngineError(
        .invalidArgument,
        "max_model_len is \(length), and must be from 2 to \(trained), the context that "
          + "\(checkpoint.path) was trained for")
    }
    return length
  }

  private static func stepLimits(_ options: ModelOptions) throws -> (rows: Int, sequences: Int) {
    let rows = options.maxRows ?? defaultRows
    guard (1...mostRows).contains(rows) else {
      throw EngineError(
        .invalidArgument,
        "max_num_batched_tokens is \(rows), and must be from 1 to \(mostRows)")
    }
    let sequences = options.maxSequences ?? min(defaultSequences, rows)
    guard (1...rows).contains(sequences) else {
      throw EngineError(
        .invalidArgument,
        "max_num_seqs is \(sequences), and must be from 1 to max_num_batched_tokens, \(rows): a "
          + "step has a row for each running sequence")
    }
    return (rows, sequences)
  }

  private static func resolve(
    _ kernels: ModelOptions.Kernels, _ device: ModelOptions.Device,
    _ config: any ArchitectureConfig, _ checkpoint: any Checkpoint
  ) throws -> (ModelOptions.Kernels, note: String) {
    if kernels == .reference || device == .gpu {
      guard kernels == .reference || kernels == .auto else {
        throw EngineError(.invalidArgument, "the kernels '\(kernels)' do not run on a GPU")
      }
      return (.reference, "")
    }
    let best = ModelOptions.Kernels(rawValue: ck_isa_best()) ?? .auto
    let chosen = kernels == .auto ? best : kernels
    guard chosen != .auto else {
      return (.reference, "this CPU has none of the instruction sets that there are kernels for")
    }
    guard ck_isa_supported(chosen.isa) != 0 else {
      throw EngineError(.deviceUnavailable, "this CPU does not run the kernels '\(chosen)'")
    }
    guard let gap = try PlanExecutor.gap(for: config, checkpoint, isa: chosen.isa) else {
      return (chosen, "")
    }
    guard kernels == .auto else {
      throw EngineError(.unsupported, gap + "; the kernels 'reference' run it")
    }
    return (.reference, gap)
  }
}

extension ModelOptions.Kernels {
  fileprivate var isa: ck_isa { ck_isa(rawValue: UInt32(bitPattern: rawValue)) }
}

/// MLX's streams of one thread, made at first use.
public final class Streams {
  private var cpu: MLXStream?
  private var gpu: MLXStream?

  public init() {}

  func resolve(_ device: ModelOptions.Device) throws -> ModelOptions.Device {
    switch device {
    case .cpu: return .cpu
    case .auto: return MLX.isGPUAvailable ? .gpu : .cpu
    case .gpu:
      guard MLX.isGPUAvailable else {
        throw EngineError(
          .deviceUnavailable,
          "MLX finds no GPU; on Linux install the extra 'cuda13' in place of 'cpu', or choose "
            + "device='cpu'")
      }
      return .gpu
    }
  }

  public func stream(_ device: ModelOptions.Device) throws -> MLXStream {
    let isGPU = device == .gpu
    if let stream = isGPU ? gpu : cpu { return stream }
    let stream = try MLXStream(gpu: isGPU)
    if isGPU { gpu = stream } else { cpu = stream }
    return stream
  }
}
