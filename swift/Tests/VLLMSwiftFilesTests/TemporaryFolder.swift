import Foundation
import Testing
import VLLMSwiftCore

/// A folder that is gone with this object.
final class TemporaryFolder {
  let path = FileManager.default.temporaryDirectory
    .appendingPathComponent("vllm-swift-\(UUID().uuidString)").path

  init() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  @discardableResult
  func write(_ bytes: [UInt8], to name: String) throws -> String {
    let file = "\(path)/\(name)"
    try Data(bytes).write(to: URL(fileURLWithPath: file))
    return file
  }

  @discardableResult
  func write(_ text: String, to name: String) throws -> String {
    try write(Array(text.utf8), to: name)
  }
}

/// Expects `body` to throw `code` with a message that names each of `culprits`.
func expectError(
  _ code: EngineError.Code, naming culprits: String...,
  sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
  let error = #expect(throws: EngineError.self, sourceLocation: sourceLocation) { try body() }
  guard let error else { return }
  #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
  for culprit in culprits {
    #expect(error.message.contains(culprit), "\(error)", sourceLocation: sourceLocation)
  }
}

/// SplitMix64 (Steele et al., https://doi.org/10.1145/2714064.2660195): the same numbers each run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
    return mixed ^ mixed >> 31
  }
}

extension Array where Element == UInt8 {
  static func little(_ value: some FixedWidthInteger) -> [UInt8] {
    Swift.withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }
}
