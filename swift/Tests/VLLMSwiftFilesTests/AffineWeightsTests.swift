import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

@Suite struct AffineWeightsTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// ggml's definition of a block, element by element.
  func dequantize(_ block: ArraySlice<UInt8>, _ type: UInt32) -> [Float] {
    let block = Array(block)
    func half(_ at: Int) -> Float {
      Float(Float16(bitPattern: UInt16(block[at]) | UInt16(block[at + 1]) << 8))
    }
    func nibble(_ index: Int, from start: Int) -> Float {
      let byte = block[start + index % 16]
      return Float(index < 16 ? byte & 15 : byte >> 4)
    }
    func fifthBit(_ index: Int, from start: Int) -> Float {
      Float(block[start + index / 8] >> (index % 8) & 1) * 16
    }
    return (0..<32).map { index in
      switch type {
      case 2: half(0) * (nibble(index, from: 2) - 8)
      case 3: half(0) * nibble(index, from: 4) + half(2)
      case 6: half(0) * (nibble(index, from: 6) + fifthBit(index, from: 2) - 16)
      case 7: half(0) * (nibble(index, from: 8) + fifthBit(index, from: 4)) + half(2)
      default: half(0) * Float(Int8(bitPattern: block[2 + index]))
      }
    }
  }

  /// MLX's definition: the codes of a row from the lowest bit of its first word up.
  func dequantize(_ weights: AffineWeights) -> [Float] {
    func number(_ bytes: [UInt8], _ group: Int) -> Float {
      bytes.withUnsafeBytes { bytes in
        weights.scaleType == .float32
          ? bytes.loadUnaligned(fromByteOffset: 4 * group, as: Float.self)
          : Float(bytes.loadUnaligned(fromByteOffset: 2 * group, as: Float16.self))
      }
    }
    return (0..<weights.packed.count * 32 / weights.bits).map { index in
      let code = (0..<weights.bits).reduce(Float(0)) { code, bit in
        let place = index * weights.bits + bit
        return code + Float((weights.packed[place / 32] >> (place % 32) & 1) << bit)
      }
      let group = index / weights.groupSize
      return number(weights.scales, group) * code + number(weights.biases, group)
    }
  }

  @Test(arguments: [(2, 4), (3, 4), (6, 5), (7, 5), (8, 8)] as [(UInt32, Int)])
  func weightsKeepTheirValues(type: UInt32, bits: Int) throws {
    let builder = GGUFBuilder.tinyLlama(type: type)
    let checkpoint = try openCheckpoint(folder.write(builder.bytes, to: "model.gguf"))
    for tensor in builder.tensors where tensor.type == type {
      let name = try #require(GGUFLlama().checkpointName(tensor.name))
      let loaded = try #require(try checkpoint.tensor(name))
      let affine = try loaded.affine()
      #expect(affine.bits == bits)
      #expect(affine.groupSize == 32)
      #expect(affine.scaleType == .float16)
      let size = GGUFBuilder.blockBytes[type] ?? 1
      let inFile = stride(from: 0, to: tensor.data.count, by: size).flatMap {
        dequantize(tensor.data[$0..<$0 + size], type)
      }
      let columns = loaded.columns
      let expected = (0..<loaded.rows).flatMap { row in
        let source = loaded.rowOrder.map { Int($0[row]) } ?? row
        return inFile[source * columns..<(source + 1) * columns]
      }
      #expect(dequantize(affine) == expected, "\(tensor.name)")
    }
  }

  @Test(arguments: [(2, 8_192), (6, 4_096), (8, 512)] as [(UInt32, Float16)])
  func biasesBeyondFloat16AreFloat32(type: UInt32, scale: Float16) throws {
    var builder = GGUFBuilder.tinyLlama(type: type)
    let up = try #require(builder.tensors.firstIndex { $0.name == "blk.0.ffn_up.weight" })
    builder.tensors[up].data.replaceSubrange(0..<2, with: withUnsafeBytes(of: scale, Array.init))
    let checkpoint = try openCheckpoint(folder.write(builder.bytes, to: "model.gguf"))
    let tensor = try #require(try checkpoint.tensor("model.layers.0.mlp.up_proj.weight"))
    let affine = try tensor.affine()
    #expect(affine.scaleType == .float32)
    let data = builder.tensors[up].data
    let size = try #require(GGUFBuilder.blockBytes[type])
    let expected = stride(from: 0, to: data.count, by: size).flatMap {
      dequantize(data[$0..<$0 + size], type)
    }
    #expect(dequantize(affine) == expected)
  }

  @Test func floatWeightsHaveNoAffineForm() throws {
    let path = try folder.write(GGUFBuilder.tinyLlama().bytes, to: "model.gguf")
    let norm = try #require(try openCheckpoint(path).tensor("model.norm.weight"))
    expectError(.internal, naming: "model.norm.weight") { _ = try norm.affine() }
    var room = [UInt8](repeating: 0, count: 1)
    expectError(.internal, naming: "model.norm.weight") {
      try room.withUnsafeMutableBytes { try norm.copyRows(to: $0) }
    }
  }

  @Test(arguments: [0, 1, 30] as [UInt32])
  func floatFormatsAreTheFilesBytes(type: UInt32) throws {
    let builder = GGUFBuilder.tinyLlama(type: type)
    let checkpoint = try openCheckpoint(folder.write(builder.bytes, to: "model.gguf"))
    let up = try #require(try checkpoint.tensor("model.layers.0.mlp.up_proj.weight"))
    let formats: [UInt32: CheckpointTensor.Format] = [0: .float32, 1: .float16, 30: .bfloat16]
    #expect(up.format == formats[type])
    #expect(Array(up.data) == builder.tensors[8].data)
  }
}
