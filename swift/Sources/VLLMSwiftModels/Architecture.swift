import VLLMSwiftCore
import VLLMSwiftFiles

/// What an executor must know of a model before it has its weights, and how to build it.
public protocol ArchitectureConfig: Sendable {
  var vocabSize: Int { get }
  var hiddenSize: Int { get }
  var intermediateSize: Int { get }
  var numHiddenLayers: Int { get }
  var numAttentionHeads: Int { get }
  var numKeyValueHeads: Int { get }
  var headDim: Int { get }
  var maxPositionEmbeddings: Int { get }

  func decoder<Store: WeightStore>(_ weights: WeightLoader<Store>) throws
    -> any Decoder<Store.Operations>
}

extension LlamaConfig: ArchitectureConfig {
  public func decoder<Store: WeightStore>(_ weights: WeightLoader<Store>) throws
    -> any Decoder<Store.Operations>
  {
    try Llama(self, weights)
  }
}

/// The architectures there are, by `model_type` of config.json.
enum Architecture {
  private typealias Maker = @Sendable (any Checkpoint) throws -> any ArchitectureConfig

  private static let configs: [String: Maker] = [
    "llama": { try LlamaConfig($0) },
    "mistral": { try LlamaConfig($0) },
  ]

  /// - Throws: `unsupportedArchitecture`, naming it and those that are supported.
  static func config(of checkpoint: any Checkpoint) throws -> any ArchitectureConfig {
    guard let type = try checkpoint.config.string("model_type") else {
      throw EngineError(.modelCorrupt, "\(checkpoint.config.file): 'model_type' is missing")
    }
    guard let make = configs[type] else {
      throw EngineError(
        .unsupportedArchitecture,
        "\(checkpoint.config.file): model type '\(type)' is not supported; supported are "
          + configs.keys.sorted().joined(separator: ", "))
    }
    return try make(checkpoint)
  }
}
