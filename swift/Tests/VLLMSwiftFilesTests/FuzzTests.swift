import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

/// Damaged files give an error of ours or a model: reaching the end of these tests is the assertion.
@Suite struct FuzzTests {
  static let flips = 10_000

  /// Opens and touches every byte that can be reached.
  func read(_ path: String) throws {
    let checkpoint = try openCheckpoint(path)
    for section in CheckpointSection.allCases { _ = try checkpoint.json(section) }
    for name in checkpoint.tensorNames {
      guard let tensor = try checkpoint.tensor(name) else { continue }
      switch tensor.format {
      case .float32, .float16, .bfloat16:
        var rows = [UInt8](repeating: 0, count: tensor.data.count)
        try rows.withUnsafeMutableBytes { try tensor.copyRows(to: $0) }
      case .ggufQ3_K, .ggufQ6_K: _ = try tensor.dequantized()
      default: _ = try tensor.affine()
      }
      checkpoint.release(tensor)
    }
  }

  /// Replaces one to four bytes of the first `headerCount` at random, `flips` times.
  func fuzz(_ file: String, reading path: String, _ bytes: [UInt8], headerCount: Int) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
    let header = Data(bytes[..<headerCount])
    var generator = SeededGenerator(state: 2026)
    var refused = 0
    for _ in 0..<Self.flips {
      var damaged = header
      for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let place = Int.random(in: 0..<headerCount, using: &generator)
        let bit = UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
        damaged[place] =
          Bool.random(using: &generator)
          ? damaged[place] ^ bit : UInt8.random(in: .min ... .max, using: &generator)
      }
      try handle.seek(toOffset: 0)
      try handle.write(contentsOf: damaged)
      do {
        try read(path)
      } catch let error as EngineError {
        #expect(error.code != .internal, "\(error)")
        refused += 1
      }
    }
    // A check of the test itself: damage is mostly seen, and not all of it is fatal.
    #expect(refused > Self.flips / 2)
    #expect(refused < Self.flips)
  }

  @Test func gguf() throws {
    let folder = try TemporaryFolder()
    let builder = GGUFBuilder.tinyLlama()
    let path = "\(folder.path)/model.gguf"
    try fuzz(path, reading: path, builder.bytes, headerCount: builder.header.count)
  }

  @Test func safetensors() throws {
    let folder = try TemporaryFolder()
    let builder = SafetensorsBuilder.small
    try folder.write(SafetensorsBuilder.config, to: "config.json")
    try fuzz(
      "\(folder.path)/model.safetensors", reading: folder.path, builder.bytes,
      headerCount: 8 + builder.header.utf8.count)
  }

  @Test func config() throws {
    let folder = try TemporaryFolder()
    try folder.write(SafetensorsBuilder.small.bytes, to: "model.safetensors")
    let config = Array(SafetensorsBuilder.config.utf8)
    try fuzz(
      "\(folder.path)/config.json", reading: folder.path, config, headerCount: config.count)
  }
}
