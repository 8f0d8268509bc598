import VLLMSwiftCore

final class SafetensorsFolder: Checkpoint, @unchecked Sendable {
  var path = ""
  var config: ModelConfig { ModelConfig(file: "", values: [:]) }
  var tensorNames: [String] { [] }
  init(path: String) throws { throw EngineError(.unsupported, "folders are not read yet") }
  func tensor(_ name: String) throws -> CheckpointTensor? { nil }
  func release(_ tensor: CheckpointTensor) {}
  func validate() throws {}
  func json(_ section: CheckpointSection) throws -> [UInt8] { [] }
}
