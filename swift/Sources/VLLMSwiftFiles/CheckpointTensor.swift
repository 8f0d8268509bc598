import VLLMSwiftCore

/// One tensor of a checkpoint: where its bytes are and how to read them. Nothing is copied.
public struct CheckpointTensor: @unchecked Sendable {
  public enum ScalarType: String, Sendable {
    case float32, float16, bfloat16
    public var size: Int { self == .float32 ? 4 : 2 }
  }

  // The quantizations have names of their own.
  // swift-format-ignore: AlwaysUseLowerCamelCase
  public enum Format: Equatable, Sendable {
    case float32, float16, bfloat16
    /// llama.cpp's blocks of 32 weights: a float16 scale d and 16 bytes of 4-bit codes q (byte j has
    /// weight j in its low half and weight j + 16 in its high half), w = d (q - 8).
    case ggufQ4_0
    /// d, a float16 minimum m, and the same codes: w = d q + m.
    case ggufQ4_1
    /// d and 32 signed bytes: w = d q.
    case ggufQ8_0
    /// d, 32 bits with the fifth bit of weight j in bit j, and the low 4 bits as in Q4_0: w =
    /// d (q - 16).
    case ggufQ5_0
    /// d, m, and the same codes: w = d q + m.
    case ggufQ5_1
    /// Blocks of 256, see `KQuants.swift`: groups of 16 with a scale, 3-bit codes; groups of 32 with
    /// a scale and a minimum, 4- and 5-bit codes; groups of 16 with a scale, 6-bit codes.
    case ggufQ3_K
    case ggufQ4_K
    case ggufQ5_K
    case ggufQ6_K
    /// MLX's affine form: codes packed into uint32 from the lowest bit up, and a scale s and a bias
    /// b for each `groupSize` weights of a row: w = s q + b.
    case affine(bits: Int, groupSize: Int)
  }

  public let name: String
  /// [rows, columns] of a matrix as in y = W x, or [rows].
  public let shape: [Int]
  public let format: Format
  /// Rows one after another, little-endian. May start at any address: copy it, or read unaligned.
  public let data: UnsafeRawBufferPointer
  /// Of `affine`: [rows, columns / groupSize] in `scaleType`.
  public let scales: UnsafeRawBufferPointer?
  public let biases: UnsafeRawBufferPointer?
  public let scaleType: ScalarType?
  /// Where the file keeps the rows in another order than the model: row i of the model is row
  /// `rowOrder[i]` of the file.
  public let rowOrder: [Int32]?
  /// Keeps `data` valid.
  public let owner: MappedFile
  /// Keeps `scales` and `biases` valid, which may lie in another shard than `data`.
  let scalesOwner: MappedFile?
  let biasesOwner: MappedFile?

  public var rows: Int { shape.first ?? 1 }
  public var columns: Int { shape.dropFirst().reduce(1, *) }
  /// Of `data`.
  public var bytesPerRow: Int { data.count / rows }
  /// Of everything it has in the file.
  public var byteCount: Int { data.count + (scales?.count ?? 0) + (biases?.count ?? 0) }

  /// Copies `data` with the rows in the model's order.
  /// - Parameter destination: `data.count` bytes.
  public func copyRows(to destination: UnsafeMutableRawBufferPointer) throws {
    guard destination.count == data.count else {
      throw EngineError(
        .internal, "\(name) has \(data.count) bytes, room was made for \(destination.count)")
    }
    guard let rowOrder else {
      destination.copyMemory(from: data)
      return
    }
    let size = bytesPerRow
    for (row, source) in rowOrder.enumerated() {
      let part = data[Int(source) * size..<(Int(source) + 1) * size]
      UnsafeMutableRawBufferPointer(rebasing: destination[row * size..<(row + 1) * size])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
    }
  }
}

extension CheckpointTensor.Format: CustomStringConvertible {
  public var description: String {
    switch self {
    case .float32: "F32"
    case .float16: "F16"
    case .bfloat16: "BF16"
    case .ggufQ4_0: "Q4_0"
    case .ggufQ4_1: "Q4_1"
    case .ggufQ8_0: "Q8_0"
    case .ggufQ5_0: "Q5_0"
    case .ggufQ5_1: "Q5_1"
    case .ggufQ3_K: "Q3_K"
    case .ggufQ4_K: "Q4_K"
    case .ggufQ5_K: "Q5_K"
    case .ggufQ6_K: "Q6_K"
    case .affine(let bits, let groupSize): "affine-\(bits)bit-g\(groupSize)"
    }
  }
}
