import VLLMSwiftCore

/// A quantized matrix in MLX's affine form, what `mx.quantized_matmul` takes: w = scale * code +
/// bias, codes packed into uint32 from the lowest bit up.
public struct AffineWeights: Sendable {
  /// [rows, columns * bits / 32]
  public let packed: [UInt32]
  /// [rows, columns / groupSize] in `scaleType`, little-endian.
  public let scales: [UInt8]
  public let biases: [UInt8]
  public let scaleType: CheckpointTensor.ScalarType
  public let bits: Int
  public let groupSize: Int
}

extension CheckpointTensor {
  /// The tensor in MLX's affine form, rows in the model's order. Exact: llama.cpp's 32-weight blocks
  /// are groups of 32 with w = d q + m, and m is -8 d in Q4_0, -16 d in Q5_0 and,
  /// codes being signed, -128 d in Q8_0. Scales are float16, or float32 where an m leaves float16's range
  /// and in the K-quants, whose groups of 32 have products for scales.
  /// - Throws: `internal` if it is not quantized, or has groups of 16 (`dequantized`).
  public func affine() throws -> AffineWeights {
    switch format {
    case .ggufQ4_0:
      return hasScale(above: .greatestFiniteMagnitude / 8, blockBytes: 18)
        ? unpackSignedNibbles(Float.self) : unpackSignedNibbles(Float16.self)
    case .ggufQ4_1:
      return unpack(bits: 4, blockBytes: 20) { block, _, codes in
        unpackNibbles(block + 4, codes)
        return (
          block.loadUnaligned(as: Float16.self),
          block.loadUnaligned(fromByteOffset: 2, as: Float16.self)
        )
      }
    case .ggufQ8_0:
      return hasScale(above: .greatestFiniteMagnitude / 128, blockBytes: 34)
        ? unpackSignedBytes(Float.self) : unpackSignedBytes(Float16.self)
    case .ggufQ5_0:
      return hasScale(above: .greatestFiniteMagnitude / 16, blockBytes: 22)
        ? unpackSignedFiveBits(Float.self) : unpackSignedFiveBits(Float16.self)
    case .ggufQ5_1:
      return unpack(bits: 5, blockBytes: 24) { block, _, codes in
        unpackFiveBits(block + 4, codes)
        return (
          block.loadUnaligned(as: Float16.self),
          block.loadUnaligned(fromByteOffset: 2, as: Float16.self)
        )
      }
    case .ggufQ4_K: return unpackQ4K()
    case .ggufQ5_K: return unpackQ5K()
    case .affine(let bits, let groupSize):
      return try copy(bits: bits, groupSize: groupSize)
    case .float32, .float16, .bfloat16, .ggufQ3_K, .ggufQ6_K:
      throw EngineError(.internal, "\(name) is \(format) and has no affine form")
    }
  }

  private func unpackSignedNibbles<Scale: GroupScale>(_: Scale.Type) -> AffineWeights {
    unpack(bits: 4, blockBytes: 18) { block, _, codes in
      let scale = Scale(block.loadUnaligned(as: Float16.self))
      unpackNibbles(block + 2, codes)
      return (scale, -8 * scale)
    }
  }

  private func unpackSignedFiveBits<Scale: GroupScale>(_: Scale.Type) -> AffineWeights {
    unpack(bits: 5, blockBytes: 22) { block, _, codes in
      let scale = Scale(block.loadUnaligned(as: Float16.self))
      unpackFiveBits(block + 2, codes)
      return (scale, -16 * scale)
    }
  }

  private func unpackSignedBytes<Scale: GroupScale>(_: Scale.Type) -> AffineWeights {
    unpack(bits: 8, blockBytes: 34) { block, _, codes in
      let scale = Scale(block.loadUnaligned(as: Float16.self))
      for word in 0..<8 {
        let signed = block.loadUnaligned(fromByteOffset: 2 + 4 * word, as: UInt32.self)
        codes[word] = signed ^ 0x8080_8080
      }
      return (scale, -128 * scale)
    }
  }

  /// Whether the magnitude of a block's scale, its first two bytes, is finite and above `limit`.
  private func hasScale(above limit: Float16, blockBytes: Int) -> Bool {
    stride(from: 0, to: data.count, by: blockBytes).contains { offset in
      let scale = data.loadUnaligned(fromByteOffset: offset, as: Float16.self)
      return scale.isFinite && scale.magnitude > limit
    }
  }

  /// - Parameters:
  ///   - groups: of 32 weights in a block.
  ///   - group: reads a group, by its number in its block, writes its `bits` words of codes, and
  ///     returns its scale and bias.
  @inline(__always)
  func unpack<Scale: GroupScale>(
    bits: Int, blockBytes: Int, groups: Int = 1,
    _ group: (UnsafeRawPointer, Int, UnsafeMutablePointer<UInt32>) -> (Scale, Scale)
  ) -> AffineWeights {
    let scaleBytes = MemoryLayout<Scale>.size
    let count = data.count / blockBytes * groups
    let groupsPerRow = count / rows
    var packed: [UInt32] = []
    var scales: [UInt8] = []
    let biases = [UInt8](unsafeUninitializedCapacity: scaleBytes * count) { biasRoom, biasCount in
      scales = [UInt8](unsafeUninitializedCapacity: scaleBytes * count) { scaleRoom, scaleCount in
        packed = [UInt32](unsafeUninitializedCapacity: bits * count) { words, wordCount in
          guard let source = data.baseAddress, let words = words.baseAddress else { return }
          var index = 0
          for row in 0..<rows {
            let sourceRow = rowOrder.map { Int($0[row]) } ?? row
            let start = source + sourceRow * bytesPerRow
            for place in 0..<groupsPerRow {
              let (scale, bias) = group(
                start + place / groups * blockBytes, place % groups, words + bits * index)
              UnsafeMutableRawBufferPointer(scaleRoom)
                .storeBytes(of: scale, toByteOffset: scaleBytes * index, as: Scale.self)
              UnsafeMutableRawBufferPointer(biasRoom)
                .storeBytes(of: bias, toByteOffset: scaleBytes * index, as: Scale.self)
              index += 1
            }
          }
          wordCount = bits * count
        }
        scaleCount = scaleBytes * count
      }
      biasCount = scaleBytes * count
    }
    return AffineWeights(
      packed: packed, scales: scales, biases: biases, scaleType: Scale.scalarType,
      bits: bits, groupSize: 32)
  }

  private func copy(bits: Int, groupSize: Int) throws -> AffineWeights {
    guard let scales, let biases, let scaleType else {
      throw EngineError(.internal, "\(name) is affine without scales or biases")
    }
    let packed = [UInt32](unsafeUninitializedCapacity: data.count / 4) { words, count in
      UnsafeMutableRawBufferPointer(words).copyMemory(from: data)
      count = data.count / 4
    }
    return AffineWeights(
      packed: packed, scales: Array(scales), biases: Array(biases), scaleType: scaleType,
      bits: bits, groupSize: groupSize)
  }
}

/// What scales and biases of groups are stored as.
protocol GroupScale: BinaryFloatingPoint {
  static var scalarType: CheckpointTensor.ScalarType { get }
}

extension Float16: GroupScale {
  static var scalarType: CheckpointTensor.ScalarType { .float16 }
}

extension Float: GroupScale {
  static var scalarType: CheckpointTensor.ScalarType { .float32 }
}

/// 16 bytes with weight j in the low and weight j + 16 in the high half of byte j, to 4 words with
/// weight j in bits 4 j % 32 of word j / 8.
@inline(__always)
private func unpackNibbles(_ source: UnsafeRawPointer, _ words: UnsafeMutablePointer<UInt32>) {
  for half in 0..<2 {
    let bytes = UInt64(
      littleEndian: source.loadUnaligned(fromByteOffset: 8 * half, as: UInt64.self))
    words[half] = gatherLowNibbles(bytes)
    words[half + 2] = gatherLowNibbles(bytes >> 4)
  }
}

/// 4 bytes with bit 4 of weight j in bit j and 16 bytes of the rest as in `unpackNibbles`, to 5 words.
@inline(__always)
private func unpackFiveBits(_ source: UnsafeRawPointer, _ words: UnsafeMutablePointer<UInt32>) {
  let high = UInt32(littleEndian: source.loadUnaligned(as: UInt32.self))
  pack(bits: 5, words) { index in
    let byte = (source + 4).load(fromByteOffset: index % 16, as: UInt8.self)
    return UInt32(index < 16 ? byte & 15 : byte >> 4) | (high >> UInt32(index) & 1) << 4
  }
}

/// 32 codes as MLX's stream: from the lowest bit of the first of `bits` words up.
@inline(__always)
func pack(
  bits: Int, _ words: UnsafeMutablePointer<UInt32>, _ code: (Int) -> UInt32
) {
  var stream: UInt64 = 0
  var filled = 0
  var word = 0
  for index in 0..<32 {
    stream |= UInt64(code(index)) << UInt64(filled)
    filled += bits
    guard filled >= 32 else { continue }
    words[word] = UInt32(truncatingIfNeeded: stream)
    stream >>= 32
    filled -= 32
    word += 1
  }
}

/// The low halves of 8 bytes, side by side.
@inline(__always)
private func gatherLowNibbles(_ bytes: UInt64) -> UInt32 {
  var nibbles = bytes & 0x0F0F_0F0F_0F0F_0F0F
  nibbles = (nibbles | nibbles >> 4) & 0x00FF_00FF_00FF_00FF
  nibbles = (nibbles | nibbles >> 8) & 0x0000_FFFF_0000_FFFF
  return UInt32(truncatingIfNeeded: nibbles | nibbles >> 16)
}
