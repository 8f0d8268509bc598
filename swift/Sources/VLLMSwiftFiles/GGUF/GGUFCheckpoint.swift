import VLLMSwiftCore

/// A GGUF file as a Hugging Face checkpoint.
final class GGUFCheckpoint: Checkpoint, @unchecked Sendable {
  let path: String
  let config: ModelConfig
  let tensorNames: [String]

  private let file: GGUFFile
  private let architecture: any GGUFArchitecture
  private let indices: [String: Int]

  init(path: String) throws {
    self.path = path
    file = try GGUFFile(path: path)
    if let parts = file["split.count"]?.int, parts > 1 {
      throw EngineError(
        .unsupported,
        "\(path) is one of \(parts) parts of a model; join them with llama-gguf-split --merge")
    }
    let architecture = try GGUFArchitectures.of(file)
    self.architecture = architecture
    config = try architecture.config(file)
    try config.checkLayers(tensors: file.tensors.count)
    tensorNames = try file.tensors.map { tensor in
      guard let name = architecture.checkpointName(tensor.name) else {
        throw EngineError(
          .unsupportedArchitecture,
          "\(path) has the tensor \(quoted(tensor.name)), which is no part of the architecture "
            + "'\(architecture.name)'")
      }
      return name
    }
    indices = try Dictionary(
      zip(tensorNames, tensorNames.indices),
      uniquingKeysWith: { [tensorNames] first, _ in
        throw EngineError.corrupt(path, "the tensor \(quoted(tensorNames[first])) is there twice")
      })
  }

  func tensor(_ name: String) throws -> CheckpointTensor? {
    guard let index = indices[name] else { return nil }
    let tensor = file.tensors[index]
    guard let format = tensor.type?.format else {
      throw EngineError(
        .unsupportedQuantization,
        "\(path): tensor \(quoted(tensor.name)) has the type \(tensor.typeName); supported: "
          + GGUFTensorType.supported)
    }
    return CheckpointTensor(
      name: name, shape: tensor.shape, format: format, data: tensor.data, scales: nil, biases: nil,
      scaleType: nil, rowOrder: try architecture.rowOrder(tensor, config), owner: file.map,
      scalesOwner: nil, biasesOwner: nil)
  }

  func json(_ section: CheckpointSection) throws -> [UInt8] {
    switch section {
    case .config: config.json()
    case .tensors: VLLMSwiftFiles.json(of: listing)
    case .tokenizer: try file.tokenizerJSON()
    case .metadata: try file.metadataJSON()
    }
  }

  private var listing: [TensorListing] {
    zip(tensorNames, file.tensors).map { name, tensor in
      TensorListing(
        name: name, shape: tensor.shape, format: tensor.typeName, bytes: tensor.data.count)
    }
  }
}
