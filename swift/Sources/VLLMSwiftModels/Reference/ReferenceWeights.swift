import CKernels
import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles

/// A weight matrix as stock MLX ops take it: one part, or several of one width stacked by rows.
struct ReferenceMatrix {
  struct Part {
    let weight: MLXArray
    let scales: MLXArray?
    let biases: MLXArray?
    let bits: Int
    let groupSize: Int
  }

  let parts: [Part]

  /// The parts as the ops read them, for the length of `body`.
  func withParts<Result>(_ body: (UnsafeBufferPointer<ck_ref_matrix>) throws -> Result) rethrows
    -> Result
  {
    try withExtendedLifetime(parts) {
      let converted = parts.map { part in
        ck_ref_matrix(
          weight: part.weight.withHandle { $0 }, scales: part.scales?.withHandle { $0 },
          biases: part.biases?.withHandle { $0 }, bits: Int32(part.bits),
          group_size: Int32(part.groupSize))
      }
      return try converted.withUnsafeBufferPointer(body)
    }
  }

  /// The only part; matrices that are looked up in, or added to a residual, are never stacked.
  func withPart<Result>(_ body: (UnsafePointer<ck_ref_matrix>) throws -> Result) throws -> Result {
    try withParts { parts in
      guard parts.count == 1, let part = parts.baseAddress else {
        throw EngineError(.internal, "one matrix was expected, \(parts.count) are stacked")
      }
      return try body(part)
    }
  }
}

/// Weights as MLX arrays. On the CPU everything that is not a code is float32: stock MLX has no fast
/// 16-bit path on x86, and the oracle should not round.
final class ReferenceWeights: WeightStore {
  typealias Operations = ReferenceOps

  private let stream: MLXStream
  private(set) var byteCount = 0
  /// Bytes of float32 that stock ops make of 16-bit arrays when they compute: of all, and of the
  /// largest.
  private(set) var converted = (all: 0, largest: 0)

  init(stream: MLXStream) {
    self.stream = stream
  }

  func matrix(_ parts: [CheckpointTensor]) throws -> ReferenceMatrix {
    ReferenceMatrix(parts: try parts.map(part))
  }

  func vector(_ tensor: CheckpointTensor) throws -> MLXArray {
    let values = try tensor.floats()
    return try counted(
      values.withUnsafeBytes { try MLXArray(bytes: $0, shape: [values.count], dtype: .float32) })
  }

  private func part(_ tensor: CheckpointTensor) throws -> ReferenceMatrix.Part {
    let (rows, columns) = (tensor.rows, tensor.columns)
    switch tensor.format {
    case .float32, .float16, .bfloat16:
      let weight = try dense(tensor)
      return .init(weight: weight, scales: nil, biases: nil, bits: 0, groupSize: 0)
    case .ggufQ3_K, .ggufQ6_K:
      let weight = try tensor.dequantized().withUnsafeBytes {
        try MLXArray(bytes: $0, shape: [rows, columns], dtype: .float32)
      }
      return .init(weight: counted(weight), scales: nil, biases: nil, bits: 0, groupSize: 0)
    default:
      let affine = try tensor.affine()
      let weight = try affine.packed.withUnsafeBytes {
        try MLXArray(bytes: $0, shape: [rows, columns * affine.bits / 32], dtype: .uint32)
      }
      func perGroup(_ bytes: [UInt8]) throws -> MLXArray {
        try bytes.withUnsafeBytes {
          try evaluated(
            $0, shape: [rows, columns / affine.groupSize], dtype: affine.scaleType.dtype)
        }
      }
      return .init(
        weight: counted(weight), scales: try perGroup(affine.scales),
        biases: try perGroup(affine.biases), bits: affine.bits, groupSize: affine.groupSize)
    }
  }

  private func dense(_ tensor: CheckpointTensor) throws -> MLXArray {
    let shape = [tensor.rows, tensor.columns]
    let dtype: MLXArray.DType =
      switch tensor.format {
      case .float16: .float16
      case .bfloat16: .bfloat16
      default: .float32
      }
    guard tensor.rowOrder != nil else {
      return try evaluated(tensor.data, shape: shape, dtype: dtype)
    }
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: tensor.data.count, alignment: 64)
    defer { copy.deallocate() }
    try tensor.copyRows(to: copy)
    return try evaluated(UnsafeRawBufferPointer(copy), shape: shape, dtype: dtype)
  }

  private func evaluated(
    _ bytes: UnsafeRawBufferPointer, shape: [Int], dtype: MLXArray.DType
  ) throws -> MLXArray {
    let array = try MLXArray(bytes: bytes, shape: shape, dtype: dtype)
    guard dtype != .float32 else { return counted(array) }
    guard !stream.isGPU else {
      converted.all += 2 * array.byteCount
      converted.largest = max(converted.largest, 2 * array.byteCount)
      return counted(array)
    }
    let wide = try array.asType(.float32, on: stream)
    // Now, so that the 16-bit copy is freed before the next tensor is read.
    try MLXArray.eval([wide])
    return counted(wide)
  }

  private func counted(_ array: MLXArray) -> MLXArray {
    byteCount += array.byteCount
    return array
  }
}

extension CheckpointTensor.ScalarType {
  var dtype: MLXArray.DType {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    }
  }
}
