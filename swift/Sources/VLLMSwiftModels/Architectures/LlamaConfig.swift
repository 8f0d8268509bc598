import VLLMSwiftCore
import VLLMSwiftFiles

/// Llama's hyperparameters, under the names of Hugging Face's config.json.
public struct LlamaConfig: Sendable {
  public let vocabSize: Int
  public let hiddenSize: Int
  public let intermediateSize: Int
  public let numHiddenLayers: Int
  public let numAttentionHeads: Int
  public let numKeyValueHeads: Int
  public let headDim: Int
  public let rmsNormEps: Float
  public let maxPositionEmbeddings: Int
  public let slidingWindow: Int?
  public let tieWordEmbeddings: Bool
  public let inverseFrequencies: [Float]

  /// - Throws: `modelCorrupt` for values that fit no model, `unsupported` for features that this
  ///   architecture has elsewhere and not here.
  public init(_ checkpoint: any Checkpoint) throws {
    let config = checkpoint.config
    vocabSize = try config.requiredSize("vocab_size")
    hiddenSize = try config.requiredSize("hidden_size")
    intermediateSize = try config.requiredSize("intermediate_size")
    numHiddenLayers = try config.requiredSize("num_hidden_layers")
    numAttentionHeads = try config.requiredSize("num_attention_heads")
    numKeyValueHeads = try config.size("num_key_value_heads") ?? numAttentionHeads
    headDim = try config.size("head_dim") ?? hiddenSize / numAttentionHeads
    rmsNormEps = Float(try config.double("rms_norm_eps") ?? 1e-6)
    maxPositionEmbeddings = try config.size("max_position_embeddings") ?? 2048
    slidingWindow = try Self.window(config)
    tieWordEmbeddings = try config.bool("tie_word_embeddings") ?? false
    try Self.refuseUnsupported(config)
    guard headDim > 0, headDim % 2 == 0, numAttentionHeads % numKeyValueHeads == 0 else {
      throw EngineError(
        .modelCorrupt,
        "\(config.file): \(numAttentionHeads) heads of \(headDim) with \(numKeyValueHeads) key-value "
          + "heads fit no model")
    }
    inverseFrequencies = try RotaryFrequencies(config, headDim: headDim)
      .inverse(dividedBy: Self.frequencyFactors(checkpoint, count: headDim / 2))
  }

  public func attention(layer: Int) -> Attention {
    Attention(
      layer: layer, heads: numAttentionHeads, kvHeads: numKeyValueHeads, headDim: headDim,
      scale: 1 / Float(headDim).squareRoot(), window: slidingWindow,
      inverseFrequencies: inverseFrequencies)
  }

  private static func refuseUnsupported(_ config: ModelConfig) throws {
    for key in ["attention_bias", "mlp_bias"] where try config.bool(key) == true {
      throw EngineError(.unsupported, "\(config.file): '\(key)' is not supported for this model")
    }
    guard try config.double("partial_rotary_factor") ?? 1 == 1 else {
      throw EngineError(
        .unsupported, "\(config.file): 'partial_rotary_factor' other than 1 is not supported")
    }
    let activation = try config.string("hidden_act") ?? "silu"
    guard activation == "silu" else {
      throw EngineError(
        .unsupported, "\(config.file): 'hidden_act' is '\(activation)'; only silu is supported")
    }
  }

  /// `sliding_window`, unless `layer_types` says that the layers do not use it.
  private static func window(_ config: ModelConfig) throws -> Int? {
    let window = try config.size("sliding_window")
    switch config["layer_types"] {
    case nil: return window
    case .array(let types) where types.allSatisfy { $0 == "full_attention" }: return nil
    case .array(let types) where types.allSatisfy { $0 == "sliding_attention" }: return window
    default:
      throw EngineError(
        .unsupported,
        "\(config.file): 'layer_types' must be full_attention or sliding_attention, the same for "
          + "all layers, for this model")
    }
  }

  private static func frequencyFactors(_ checkpoint: any Checkpoint, count: Int) throws -> [Float]?
  {
    guard let tensor = try checkpoint.tensor("rope_freqs.weight") else { return nil }
    guard tensor.shape == [count] else {
      throw EngineError(
        .modelCorrupt,
        "'rope_freqs.weight' in \(checkpoint.path) has shape \(tensor.shape), not [\(count)]")
    }
    return try tensor.floats()
  }
}
