import VLLMSwiftCore

/// How an architecture's GGUF files read as a Hugging Face checkpoint. One file each.
protocol GGUFArchitecture: Sendable {
  /// `general.architecture`
  var name: String { get }

  /// - Throws: `modelCorrupt` if a key is missing or senseless; `unsupportedArchitecture`, naming
  ///   the key, if one asks for something that is not implemented.
  func config(_ file: GGUFFile) throws -> ModelConfig

  /// Nil: no part of the architecture.
  func checkpointName(_ tensor: String) -> String?

  /// See `CheckpointTensor.rowOrder`.
  func rowOrder(_ tensor: GGUFFile.Tensor, _ config: ModelConfig) throws -> [Int32]?
}

enum GGUFArchitectures {
  private static let all: [any GGUFArchitecture] = [GGUFLlama()]

  static func of(_ file: GGUFFile) throws -> any GGUFArchitecture {
    guard case .string(let bytes) = file["general.architecture"] else {
      throw EngineError.corrupt(file.map.path, "'general.architecture' is missing or no string")
    }
    let name = String(decoding: bytes, as: UTF8.self)
    guard let architecture = all.first(where: { $0.name == name }) else {
      throw EngineError(
        .unsupportedArchitecture,
        "\(file.map.path) has the architecture \(quoted(name)); supported: "
          + all.map { $0.name }.joined(separator: ", "))
    }
    return architecture
  }
}
