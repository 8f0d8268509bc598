import VLLMSwiftCore
import VLLMSwiftFiles

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// The rotary embedding's angles a position, radians, with the scalings by which models are
/// stretched beyond the context they were trained on.
public struct RotaryFrequencies {
  private let headDim: Int
  private let theta: Double
  private let scaling: ModelConfig?

  /// Reads `rope_theta` and `rope_scaling`, or `rope_parameters`, which newer configs have for both.
  public init(_ config: ModelConfig, headDim: Int) throws {
    let parameters = try config.object("rope_parameters")
    self.headDim = headDim
    theta = try parameters?.double("rope_theta") ?? config.double("rope_theta") ?? 10_000
    scaling = try parameters ?? config.object("rope_scaling")
    guard theta > 0 else {
      throw EngineError(.modelCorrupt, "\(config.file): 'rope_theta' is \(theta), not above 0")
    }
  }

  /// - Parameter factors: [headDim / 2], which divide the unscaled frequencies, from checkpoints
  ///   that carry their scaling as a tensor.
  public func inverse(dividedBy factors: [Float]?) throws -> [Float] {
    let plain = (0..<headDim / 2).map { pow(theta, -2 * Double($0) / Double(headDim)) }
    if let factors { return zip(plain, factors).map { Float($0 / Double($1)) } }
    return try scaled(plain).map { Float($0) }
  }

  private func scaled(_ plain: [Double]) throws -> [Double] {
    guard let scaling else { return plain }
    switch try scaling.string("rope_type") ?? scaling.string("type") ?? "default" {
    case "default":
      return plain
    case "linear":
      // Chen et al., "Extending Context Window via Positional Interpolation" (arXiv:2306.15595).
      let factor = try positive("factor", in: scaling)
      return plain.map { $0 / factor }
    case "llama3":
      return try Self.llama3(plain, scaling, positive)
    case let type:
      throw EngineError(
        .unsupported,
        "\(scaling.file): rope scaling '\(type)' is not supported; default, linear and llama3 are")
    }
  }

  /// Long wavelengths are divided by the factor, short ones kept, those between blended: the Llama 3
  /// Herd of Models (arXiv:2407.21783), in the form of Hugging Face's config keys.
  private static func llama3(
    _ plain: [Double], _ scaling: ModelConfig, _ positive: (String, ModelConfig) throws -> Double
  ) throws -> [Double] {
    let factor = try positive("factor", scaling)
    let low = try positive("low_freq_factor", scaling)
    let high = try positive("high_freq_factor", scaling)
    let context = try positive("original_max_position_embeddings", scaling)
    guard high > low else {
      throw EngineError(
        .modelCorrupt, "\(scaling.file): 'high_freq_factor' is not above 'low_freq_factor'")
    }
    return plain.map { frequency in
      let turns = context * frequency / (2 * .pi)
      let kept = min(1, max(0, (turns - low) / (high - low)))
      return kept * frequency + (1 - kept) * frequency / factor
    }
  }

  private func positive(_ key: String, in scaling: ModelConfig) throws -> Double {
    let value = try scaling.requiredDouble(key)
    guard value > 0 else {
      throw EngineError(.modelCorrupt, "\(scaling.file): '\(key)' is \(value), not above 0")
    }
    return value
  }
}
