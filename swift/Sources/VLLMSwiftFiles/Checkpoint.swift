import VLLMSwiftCore

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A trained model as it lies on disk. Tensors and hyperparameters have the names of the model's
/// Hugging Face checkpoint, whatever the file format calls them.
public protocol Checkpoint: AnyObject, Sendable {
  /// The file or folder that was opened.
  var path: String { get }
  var config: ModelConfig { get }
  /// In the order of the file; a quantized weight is one tensor.
  var tensorNames: [String] { get }

  /// Nil if there is none of that name.
  /// - Throws: `unsupportedQuantization`, naming tensor and type, if its format is none of
  ///   `CheckpointTensor.Format`; `modelCorrupt` if its parts do not fit together.
  func tensor(_ name: String) throws -> CheckpointTensor?

  /// The JSON of one section of `vsw_model_file_json`, UTF-8.
  func json(_ section: CheckpointSection) throws -> [UInt8]
}

public enum CheckpointSection: String, CaseIterable, Sendable {
  case config, tokenizer, metadata, tensors
}

/// Opens a .gguf file, or a folder of config.json and safetensors. Weights are mapped, not read.
/// - Throws: `modelNotFound`, `modelCorrupt`, `unsupportedArchitecture`, `unsupportedQuantization`.
public func openCheckpoint(_ path: String) throws -> any Checkpoint {
  var status = stat()
  if stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
    return try SafetensorsFolder(path: path)
  }
  return try GGUFCheckpoint(path: path)
}

extension Checkpoint {
  /// - Throws: what `tensor` throws for any of them.
  public func validate() throws {
    for name in tensorNames { _ = try tensor(name) }
  }

  /// Gives the tensor's pages back to the system once it was repacked; it stays readable.
  public func release(_ tensor: CheckpointTensor) {
    tensor.owner.release(tensor.data)
    if let scales = tensor.scales { tensor.scalesOwner?.release(scales) }
    if let biases = tensor.biases { tensor.biasesOwner?.release(biases) }
  }
}

/// An entry of the "tensors" section.
struct TensorListing {
  let name: String
  let shape: [Int]
  let format: String
  let bytes: Int
}

func json(of tensors: [TensorListing]) -> [UInt8] {
  var json = JSONWriter(capacity: 128 * tensors.count)
  json.beginArray()
  for tensor in tensors {
    json.beginObject()
    json.key("name")
    json.value(tensor.name)
    json.key("shape")
    json.value(.array(tensor.shape.map { .int($0) }))
    json.key("format")
    json.value(tensor.format)
    json.key("bytes")
    json.value(tensor.bytes)
    json.endObject()
  }
  json.endArray()
  return json.bytes
}

extension ModelConfig {
  /// Each layer has at least one tensor. With more layers than that a number is damaged, and making
  /// room for as many would end the process.
  func checkLayers(tensors: Int) throws {
    guard let layers = try size("num_hidden_layers"), layers > tensors else { return }
    throw EngineError.corrupt(
      file, "'num_hidden_layers' is \(layers), and the model has \(tensors) tensors")
  }

  func json() -> [UInt8] {
    var json = JSONWriter()
    json.value(.object(values))
    return json.bytes
  }
}
