import VLLMSwiftCore
import VLLMSwiftFiles

extension CheckpointTensor {
  /// The elements of a tensor that is not quantized, in the model's order.
  /// - Throws: `unsupportedQuantization` if it is.
  func floats() throws -> [Float] {
    var raw = [UInt8](repeating: 0, count: data.count)
    try raw.withUnsafeMutableBytes { try copyRows(to: $0) }
    return try raw.withUnsafeBytes { bytes in
      switch format {
      case .float32: return Array(bytes.bindMemory(to: Float.self))
      case .float16: return bytes.bindMemory(to: Float16.self).map { Float($0) }
      case .bfloat16:
        return bytes.bindMemory(to: UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }
      default:
        throw EngineError(
          .unsupportedQuantization,
          "\(name) in \(owner.path) is \(format), and must be float here")
      }
    }
  }
}
