import VLLMSwiftCore

/// What config.json says of MLX's quantized weights: `"quantization": {"group_size": 64, "bits": 4,
/// "model.layers.0.mlp.down_proj": {"group_size": 32, "bits": 8}, ...}`.
struct MLXQuantization {
  struct Parameters: Equatable {
    let bits: Int
    let groupSize: Int
  }

  private let standard: Parameters
  private let layers: [String: Parameters]

  /// Nil if the model is not quantized.
  /// - Throws: `unsupportedQuantization`, naming it, if it is in another way than MLX's affine one.
  init?(_ config: ModelConfig) throws {
    guard let section = try config.object("quantization") ?? config.object("quantization_config")
    else { return nil }
    if let method = try section.string("quant_method") {
      throw Self.unsupported(config.file, "the method \(quoted(method))")
    }
    let standard = try Self.parameters(section, else: nil)
    self.standard = standard
    layers = try section.values.compactMapValues { value in
      guard case .object(let values) = value else { return nil }
      return try Self.parameters(
        ModelConfig(file: config.file, values: values), else: standard)
    }
  }

  /// - Parameter layer: a weight's name without `.weight`.
  func parameters(of layer: String) -> Parameters { layers[layer] ?? standard }

  private static func parameters(_ section: ModelConfig, else standard: Parameters?) throws
    -> Parameters
  {
    let mode = try section.string("mode") ?? "affine"
    guard mode == "affine" else { throw unsupported(section.file, "the mode \(quoted(mode))") }
    guard let bits = try section.int("bits") ?? standard?.bits,
      let groupSize = try section.int("group_size") ?? standard?.groupSize
    else {
      throw EngineError.corrupt(section.file, "'quantization' lacks 'bits' or 'group_size'")
    }
    guard [2, 3, 4, 5, 6, 8].contains(bits), [32, 64, 128].contains(groupSize) else {
      throw unsupported(section.file, "\(bits) bits in groups of \(groupSize)")
    }
    return Parameters(bits: bits, groupSize: groupSize)
  }

  private static func unsupported(_ file: String, _ what: String) -> EngineError {
    EngineError(
      .unsupportedQuantization,
      "\(file): the weights are quantized with \(what); supported: MLX's affine mode with 2, 3, "
        + "4, 5, 6 or 8 bits in groups of 32, 64 or 128")
  }
}
