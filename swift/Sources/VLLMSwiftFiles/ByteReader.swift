import VLLMSwiftCore

/// Reads little-endian values one after another and never past the end.
struct ByteReader {
  let bytes: UnsafeRawBufferPointer
  /// Named in errors.
  let file: String
  private(set) var offset = 0

  var remaining: Int { bytes.count - offset }

  init(_ bytes: UnsafeRawBufferPointer, file: String) {
    self.bytes = bytes
    self.file = file
  }

  mutating func take(_ count: UInt64, _ what: @autoclosure () -> String) throws
    -> UnsafeRawBufferPointer
  {
    guard count <= UInt64(remaining) else {
      throw EngineError.corrupt(
        file, "\(what()) needs \(count) bytes at offset \(offset), \(remaining) are left")
    }
    let part = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + Int(count)])
    offset += Int(count)
    return part
  }

  mutating func read<T: FixedWidthInteger>(_ type: T.Type, _ what: @autoclosure () -> String) throws
    -> T
  {
    let part = try take(UInt64(MemoryLayout<T>.size), what())
    return T(littleEndian: part.loadUnaligned(as: T.self))
  }

  /// A count of things that take at least `size` bytes each; more than can follow is refused before
  /// anything is allocated for them.
  mutating func readCount(ofSize size: Int, _ what: @autoclosure () -> String) throws -> Int {
    let count = try read(UInt64.self, what())
    guard count <= UInt64(remaining / size) else {
      throw EngineError.corrupt(
        file, "\(what()) is \(count), more than \(remaining) bytes can hold")
    }
    return Int(count)
  }
}
