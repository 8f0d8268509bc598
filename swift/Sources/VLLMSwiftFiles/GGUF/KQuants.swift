import VLLMSwiftCore

// llama.cpp's blocks of 256 weights, with d and dmin in float16 (ggml-common.h):
//
//   Q3_K  bit 2 of q (32 bytes), bits 0 and 1 (64), 16 scales of 6 bits (12), d:
//         w = d (scale - 32) (q - 4)
//   Q4_K  d, dmin, 8 scales and minima of 6 bits (12), q (128): w = d scale q - dmin minimum
//   Q5_K  d, dmin, the same (12), bit 4 of q (32), the other bits (128)
//   Q6_K  bits 0 to 3 of q (128), bits 4 and 5 (64), 16 scales of 8 bits, d: w = d scale (q - 32)

extension CheckpointTensor {
  func unpackQ4K() -> AffineWeights {
    unpack(bits: 4, blockBytes: 144, groups: 8) { block, group, codes in
      pack(bits: 4, codes) { field(block + 16, 32 * group + $0, bits: 4, run: 32) }
      return scaleAndBias(block, group)
    }
  }

  func unpackQ5K() -> AffineWeights {
    unpack(bits: 5, blockBytes: 176, groups: 8) { block, group, codes in
      pack(bits: 5, codes) {
        field(block + 48, 32 * group + $0, bits: 4, run: 32)
          | field(block + 16, 32 * group + $0, bits: 1, run: 32) << 4
      }
      return scaleAndBias(block, group)
    }
  }

  /// Every weight of a tensor with groups of 16, which have no affine form in MLX; rows in the
  /// model's order.
  /// - Throws: `internal` if it is of another format.
  public func dequantized() throws -> [Float] {
    switch format {
    case .ggufQ3_K:
      return dequantized(blockBytes: 110) { block, index in
        let q =
          field(block + 32, index, bits: 2, run: 32) | field(block, index, bits: 1, run: 32) << 2
        let group = index / 16
        let scale =
          field(block + 96, group, bits: 4, run: 8)
          | field(block + 104, group, bits: 2, run: 4) << 4
        return half(block + 108) * (Float(scale) - 32) * (Float(q) - 4)
      }
    case .ggufQ6_K:
      return dequantized(blockBytes: 210) { block, index in
        let q =
          field(block, index, bits: 4, run: 64)
          | field(block + 128, index, bits: 2, run: 32) << 4
        let scale = block.load(fromByteOffset: 192 + index / 16, as: Int8.self)
        return half(block + 208) * Float(scale) * (Float(q) - 32)
      }
    default:
      throw EngineError(.internal, "\(name) is \(format) and has no groups of 16")
    }
  }

  @inline(__always)
  private func dequantized(
    blockBytes: Int, _ weight: (UnsafeRawPointer, Int) -> Float
  ) -> [Float] {
    [Float](unsafeUninitializedCapacity: rows * columns) { room, count in
      guard let source = data.baseAddress else { return }
      for row in 0..<rows {
        let start = source + (rowOrder.map { Int($0[row]) } ?? row) * bytesPerRow
        for column in 0..<columns {
          room[count] = weight(start + column / 256 * blockBytes, column % 256)
          count += 1
        }
      }
    }
  }
}

private func half(_ source: UnsafeRawPointer) -> Float {
  Float(source.loadUnaligned(as: Float16.self))
}

/// Number `index` of those that ggml packs as fields of `bits` bits: `run` of them one after another
/// lie in bytes one after another, the next runs in the higher bits of those bytes.
@inline(__always)
private func field(_ source: UnsafeRawPointer, _ index: Int, bits: Int, run: Int) -> UInt32 {
  let perByte = 8 / bits
  let byte = source.load(
    fromByteOffset: index / (run * perByte) * run + index % run, as: UInt8.self)
  return UInt32(byte) >> UInt32(bits * (index / run % perByte)) & (1 << UInt32(bits) - 1)
}

/// Of Q4_K and Q5_K. The 12 bytes after d and dmin: scales of groups 0 to 3, then minima, in the low
/// 6 bits; those of groups 4 to 7 have their low 4 bits in the last 4 bytes, scales below minima, and
/// their high 2 bits above the others.
private func scaleAndBias(_ block: UnsafeRawPointer, _ group: Int) -> (Float, Float) {
  func byte(_ index: Int) -> UInt8 { block.load(fromByteOffset: 4 + index, as: UInt8.self) }
  let scale = group < 4 ? byte(group) & 63 : byte(group + 4) & 15 | (byte(group - 4) >> 6) << 4
  let minimum = group < 4 ? byte(group + 4) & 63 : byte(group + 4) >> 4 | (byte(group) >> 6) << 4
  return (half(block) * Float(scale), -half(block + 2) * Float(minimum))
}
