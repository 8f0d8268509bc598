/// Whether `bytes` are well-formed UTF-8 (Unicode 16, table 3-7): no overlong form, no surrogate,
/// nothing past U+10FFFF.
func isValidUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
  var index = 0
  while index < bytes.count {
    let lead = bytes[index]
    if lead < 0x80 {
      index += 1
      continue
    }
    let length: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch lead {
    case 0xC2...0xDF: length = 2
    case 0xE0: (length, second) = (3, 0xA0...0xBF)
    case 0xED: (length, second) = (3, 0x80...0x9F)
    case 0xE1...0xEF: length = 3
    case 0xF0: (length, second) = (4, 0x90...0xBF)
    case 0xF1...0xF3: length = 4
    case 0xF4: (length, second) = (4, 0x80...0x8F)
    default: return false
    }
    guard index + length <= bytes.count, second.contains(bytes[index + 1]) else { return false }
    for tail in index + 2..<index + length where bytes[tail] & 0xC0 != 0x80 {
      return false
    }
    index += length
  }
  return true
}

extension String {
  /// Nil unless `bytes` are UTF-8. (`String(validating:as:)` needs macOS 15.)
  init?(utf8 bytes: UnsafeRawBufferPointer) {
    guard isValidUTF8(bytes) else { return nil }
    self.init(decoding: bytes, as: UTF8.self)
  }
}
