import VLLMSwiftCore

/// Reads JSON (RFC 8259) from files nobody vouches for.
///
/// Foundation's JSONDecoder keeps one of several members of the same name in silence, which in a
/// safetensors header hides an attack, and refuses the NaN and Infinity that Python writes into
/// config.json; here the first is an error and the second is read.
struct JSONParser {
  private static let maxDepth = 64

  private let bytes: UnsafeRawBufferPointer
  private let file: String
  private var index = 0
  private var depth = 0

  /// - Throws: `modelCorrupt`, naming `file` and the place.
  static func parse(_ bytes: UnsafeRawBufferPointer, file: String) throws -> JSONValue {
    guard isValidUTF8(bytes) else { throw EngineError.corrupt(file, "its JSON is not UTF-8") }
    var parser = JSONParser(bytes: bytes, file: file)
    let value = try parser.value()
    parser.skipSpace()
    guard parser.index == bytes.count else { throw parser.failure("text after the document") }
    return value
  }

  private init(bytes: UnsafeRawBufferPointer, file: String) {
    self.bytes = bytes
    self.file = file
  }

  private mutating func value() throws -> JSONValue {
    skipSpace()
    guard let byte = peek() else { throw failure("the document ends too early") }
    switch byte {
    case UInt8(ascii: "{"): return try nested { try $0.object() }
    case UInt8(ascii: "["): return try nested { try $0.array() }
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "N"): return try word("NaN", .double(.nan))
    case UInt8(ascii: "I"): return try word("Infinity", .double(.infinity))
    default: return try number()
    }
  }

  private mutating func nested(_ body: (inout JSONParser) throws -> JSONValue) throws -> JSONValue {
    guard depth < Self.maxDepth else { throw failure("nested deeper than \(Self.maxDepth)") }
    depth += 1
    defer { depth -= 1 }
    index += 1
    return try body(&self)
  }

  private mutating func object() throws -> JSONValue {
    var members: [String: JSONValue] = [:]
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(members) }
    repeat {
      skipSpace()
      let name = try string()
      skipSpace()
      guard take(UInt8(ascii: ":")) else { throw failure("expected ':'") }
      guard members.updateValue(try value(), forKey: name) == nil else {
        throw failure("\(quoted(name)) is there twice")
      }
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "}")) else { throw failure("expected ',' or '}'") }
    return .object(members)
  }

  private mutating func array() throws -> JSONValue {
    var elements: [JSONValue] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return .array(elements) }
    repeat {
      elements.append(try value())
      skipSpace()
    } while take(UInt8(ascii: ","))
    guard take(UInt8(ascii: "]")) else { throw failure("expected ',' or ']'") }
    return .array(elements)
  }

  private mutating func word(_ text: StaticString, _ value: JSONValue) throws -> JSONValue {
    let length = text.utf8CodeUnitCount
    guard bytes.count - index >= length,
      bytes[index..<index + length].elementsEqual(
        UnsafeBufferPointer(start: text.utf8Start, count: length))
    else { throw failure("not a JSON value") }
    index += length
    return value
  }

  private mutating func number() throws -> JSONValue {
    let start = index
    let negative = take(UInt8(ascii: "-"))
    if negative, peek() == UInt8(ascii: "I") { return try word("Infinity", .double(-.infinity)) }
    let first = peek()
    guard digits() > 0, first != UInt8(ascii: "0") || index - start == (negative ? 2 : 1) else {
      throw failure("not a JSON value")
    }
    var isInteger = true
    if take(UInt8(ascii: ".")) {
      isInteger = false
      guard digits() > 0 else { throw failure("a number without digits after its point") }
    }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      isInteger = false
      _ = take(UInt8(ascii: "+")) || take(UInt8(ascii: "-"))
      guard digits() > 0 else { throw failure("a number without digits in its exponent") }
    }
    let text = String(decoding: bytes[start..<index], as: UTF8.self)
    if isInteger, let int = Int(text) { return .int(int) }
    guard let double = Double(text) else { throw failure("not a number") }
    return .double(double)
  }

  private mutating func digits() -> Int {
    let start = index
    while let byte = peek(), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { index += 1 }
    return index - start
  }

  private mutating func string() throws -> String {
    guard take(UInt8(ascii: "\"")) else { throw failure("expected a string") }
    var text: [UInt8] = []
    while true {
      let start = index
      while let byte = peek(), byte >= 0x20, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\")
      { index += 1 }
      let run = bytes[start..<index]
      if take(UInt8(ascii: "\"")) {
        if text.isEmpty { return String(decoding: run, as: UTF8.self) }
        text.append(contentsOf: run)
        return String(decoding: text, as: UTF8.self)
      }
      text.append(contentsOf: run)
      guard take(UInt8(ascii: "\\")) else { throw failure("a string without end") }
      text.append(contentsOf: String(try escape()).utf8)
    }
  }

  private mutating func escape() throws -> Unicode.Scalar {
    guard let byte = peek() else { throw failure("a string without end") }
    index += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): break
    default: throw failure("an unknown escape in a string")
    }
    let unit = try hexUnit()
    if let scalar = Unicode.Scalar(unit) { return scalar }
    guard (0xD800..<0xDC00).contains(unit), take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
      throw failure("half of a surrogate pair")
    }
    let low = try hexUnit()
    guard (0xDC00..<0xE000).contains(low),
      let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
    else { throw failure("half of a surrogate pair") }
    return scalar
  }

  private mutating func hexUnit() throws -> UInt32 {
    guard bytes.count - index >= 4 else { throw failure("a string without end") }
    var unit: UInt32 = 0
    for byte in bytes[index..<index + 4] {
      guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("\\u without four hexadecimal digits")
      }
      unit = unit << 4 | UInt32(digit)
    }
    index += 4
    return unit
  }

  private func peek() -> UInt8? { index < bytes.count ? bytes[index] : nil }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard peek() == byte else { return false }
    index += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 {
      index += 1
    }
  }

  private func failure(_ what: String) -> EngineError {
    .corrupt(file, "its JSON is broken at byte \(index): \(what)")
  }
}
