import VLLMSwiftCore

/// A folder with config.json and model.safetensors, or shards of it and their index; in float or in
/// MLX's quantized form.
final class SafetensorsFolder: Checkpoint, @unchecked Sendable {
  let path: String
  let config: ModelConfig
  let tensorNames: [String]

  private let quantization: MLXQuantization?
  private let stored: [String: SafetensorsFile.Tensor]

  init(path: String) throws {
    self.path = path
    config = try Self.readConfig(path)
    quantization = try MLXQuantization(config)
    let tensors = try Self.readTensors(path)
    try config.checkLayers(tensors: tensors.count)
    let stored = try Dictionary(
      tensors.map { ($0.name, $0) },
      uniquingKeysWith: { first, second in
        throw EngineError.corrupt(
          second.map.path, "tensor \(quoted(first.name)) is also in \(first.map.path)")
      })
    self.stored = stored
    tensorNames = tensors.map(\.name).filter { !Self.isPart($0, of: stored) }
  }

  func tensor(_ name: String) throws -> CheckpointTensor? {
    guard let tensor = stored[name] else { return nil }
    switch tensor.type {
    case "F32": return dense(tensor, .float32)
    case "F16": return dense(tensor, .float16)
    case "BF16": return dense(tensor, .bfloat16)
    case "U32" where Self.layer(name) != nil: return try quantized(tensor)
    default:
      throw EngineError(
        .unsupportedQuantization,
        "\(tensor.map.path): tensor \(quoted(name)) has the type \(quoted(tensor.type)); "
          + "supported: F32, F16, BF16 and MLX's quantized weights")
    }
  }

  func json(_ section: CheckpointSection) throws -> [UInt8] {
    switch section {
    case .config: config.json()
    case .tokenizer, .metadata: Array("null".utf8)
    case .tensors: VLLMSwiftFiles.json(of: try listing())
    }
  }

  private func listing() throws -> [TensorListing] {
    try tensorNames.compactMap { name in
      guard let stored = stored[name] else { return nil }
      guard stored.type == "U32", let tensor = try tensor(name) else {
        return TensorListing(
          name: name, shape: stored.shape, format: stored.type, bytes: stored.data.count)
      }
      return TensorListing(
        name: name, shape: tensor.shape, format: tensor.format.description,
        bytes: tensor.byteCount)
    }
  }

  private func dense(_ tensor: SafetensorsFile.Tensor, _ format: CheckpointTensor.Format)
    -> CheckpointTensor
  {
    CheckpointTensor(
      name: tensor.name, shape: tensor.shape, format: format, data: tensor.data, scales: nil,
      biases: nil, scaleType: nil, rowOrder: nil, owner: tensor.map,
      scalesOwner: nil, biasesOwner: nil)
  }
}

// MARK: - MLX's quantized form

extension SafetensorsFolder {
  private static let scaleTypes: [String: CheckpointTensor.ScalarType] = [
    "F32": .float32, "F16": .float16, "BF16": .bfloat16,
  ]

  /// A weight's name without `.weight`.
  private static func layer(_ name: String) -> String? {
    name.hasSuffix(".weight") ? String(name.dropLast(7)) : nil
  }

  /// Whether a tensor is the scales or the biases of a quantized weight.
  private static func isPart(_ name: String, of tensors: [String: SafetensorsFile.Tensor]) -> Bool {
    guard name.hasSuffix(".scales") || name.hasSuffix(".biases") else { return false }
    return tensors[name.dropLast(7) + ".weight"]?.type == "U32"
  }

  private func quantized(_ codes: SafetensorsFile.Tensor) throws -> CheckpointTensor {
    let layer = Self.layer(codes.name) ?? codes.name
    guard let quantization else {
      throw EngineError.corrupt(
        config.file, "'quantization' is missing, but \(quoted(codes.name)) is quantized")
    }
    let parameters = quantization.parameters(of: layer)
    let (bits, groupSize) = (parameters.bits, parameters.groupSize)
    guard let words = codes.shape.last, codes.shape.count > 1, words * 32 % bits == 0,
      words * 32 / bits % groupSize == 0
    else {
      throw EngineError.corrupt(
        codes.map.path,
        "tensor \(quoted(codes.name)) of shape \(codes.shape) does not hold \(bits)-bit weights "
          + "in groups of \(groupSize)")
    }
    let rows = Array(codes.shape.dropLast())
    let columns = words * 32 / bits
    let scales = try part(layer + ".scales", shape: rows + [columns / groupSize])
    let biases = try part(layer + ".biases", shape: rows + [columns / groupSize])
    guard let scaleType = Self.scaleTypes[scales.type], scales.type == biases.type else {
      throw EngineError(
        .unsupportedQuantization,
        "\(codes.map.path): scales of \(quoted(codes.name)) are \(quoted(scales.type)), biases "
          + "\(quoted(biases.type)); supported: both F32, F16 or BF16")
    }
    return CheckpointTensor(
      name: codes.name, shape: rows + [columns],
      format: .affine(bits: bits, groupSize: groupSize), data: codes.data, scales: scales.data,
      biases: biases.data, scaleType: scaleType, rowOrder: nil, owner: codes.map,
      scalesOwner: scales.map, biasesOwner: biases.map)
  }

  private func part(_ name: String, shape: [Int]) throws -> SafetensorsFile.Tensor {
    guard let tensor = stored[name] else {
      throw EngineError.corrupt(path, "tensor \(quoted(name)) is missing")
    }
    guard tensor.shape == shape else {
      throw EngineError.corrupt(
        tensor.map.path, "tensor \(quoted(name)) has the shape \(tensor.shape), not \(shape)")
    }
    return tensor
  }
}

// MARK: - Files of the folder

extension SafetensorsFolder {
  private static func readConfig(_ folder: String) throws -> ModelConfig {
    let path = "\(folder)/config.json"
    guard let values = try readObject(path) else {
      throw EngineError(
        .modelNotFound,
        "the folder \(folder) has no config.json. A model is a folder with config.json and "
          + "*.safetensors, or a .gguf file")
    }
    return ModelConfig(file: path, values: values)
  }

  private static func readTensors(_ folder: String) throws -> [SafetensorsFile.Tensor] {
    if let file = try open("\(folder)/model.safetensors") { return file.tensors }
    let indexPath = "\(folder)/model.safetensors.index.json"
    guard let index = try readObject(indexPath) else {
      throw EngineError(
        .modelNotFound,
        "the folder \(folder) has neither model.safetensors nor model.safetensors.index.json")
    }
    guard case .object(let places) = index["weight_map"] else {
      throw EngineError.corrupt(indexPath, "'weight_map' is missing")
    }
    var shards: [String: [String]] = [:]
    for (tensor, place) in places {
      guard case .string(let shard) = place, isFileName(shard) else {
        throw EngineError.corrupt(
          indexPath, "tensor \(quoted(tensor)) is not in a .safetensors file of this folder")
      }
      shards[shard, default: []].append(tensor)
    }
    return try shards.sorted { $0.key < $1.key }.flatMap { shard, expected in
      guard let file = try open("\(folder)/\(shard)") else {
        throw EngineError(
          .modelNotFound, "the folder \(folder) lacks \(quoted(shard)), one of its weight files")
      }
      let names = Set(file.tensors.map(\.name))
      if let missing = expected.sorted().first(where: { !names.contains($0) }) {
        throw EngineError.corrupt(
          "\(folder)/\(shard)", "tensor \(quoted(missing)) is missing, which the index puts there")
      }
      return file.tensors
    }
  }

  /// No path: a shard lies in the folder itself, whatever the index wishes for.
  private static func isFileName(_ name: String) -> Bool {
    name.hasSuffix(".safetensors") && !name.utf8.contains { $0 == 0 || $0 == 0x2F || $0 == 0x5C }
  }

  private static func open(_ path: String) throws -> SafetensorsFile? {
    try unlessMissing { try SafetensorsFile(path: path) }
  }

  private static func readObject(_ path: String) throws -> [String: JSONValue]? {
    guard let map = try unlessMissing({ try MappedFile(path: path) }) else { return nil }
    guard case .object(let values) = try JSONParser.parse(map.bytes, file: path) else {
      throw EngineError.corrupt(path, "it is not a JSON object")
    }
    return values
  }

  private static func unlessMissing<T>(_ open: () throws -> T) throws -> T? {
    do {
      return try open()
    } catch let error as EngineError where error.code == .modelNotFound {
      return nil
    }
  }
}
