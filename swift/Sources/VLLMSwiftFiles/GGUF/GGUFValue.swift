import VLLMSwiftCore

/// A value of a GGUF file's metadata. Strings and arrays stay in the mapped file until asked for;
/// what they need is there, which was checked when the file was opened.
enum GGUFValue {
  case unsigned(UInt64)
  case signed(Int64)
  case float(Float)
  case double(Double)
  case bool(Bool)
  case string(UnsafeRawBufferPointer)
  case array(GGUFArray)

  /// The number, if it is an integer that an Int holds.
  var int: Int? {
    switch self {
    case .unsigned(let value): Int(exactly: value)
    case .signed(let value): Int(exactly: value)
    default: nil
    }
  }

  /// What an array takes in the file.
  var arrayBytes: Int {
    if case .array(let array) = self { return array.bytes.count }
    return 0
  }
}

struct GGUFArray {
  let elementType: GGUFValueType
  let count: Int
  /// As in the file: strings with their lengths before them.
  let bytes: UnsafeRawBufferPointer
}

/// By the numbers of the GGUF specification
/// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
enum GGUFValueType: UInt32 {
  case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64
  case float64

  /// Bytes of one, or the fewest that a string can take.
  var minimumSize: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .string: 8
    case .array: 12
    }
  }
}

extension ByteReader {
  /// The bytes of a string; whether they are UTF-8 is the user's to check.
  mutating func readString(_ what: @autoclosure () -> String) throws -> UnsafeRawBufferPointer {
    let length = try read(UInt64.self, what())
    return try take(length, what())
  }

  mutating func readType(_ what: @autoclosure () -> String) throws -> GGUFValueType {
    let number = try read(UInt32.self, what())
    guard let type = GGUFValueType(rawValue: number) else {
      throw EngineError.corrupt(file, "\(what()) has the unknown type \(number)")
    }
    return type
  }

  mutating func readValue(_ type: GGUFValueType, _ what: @autoclosure () -> String) throws
    -> GGUFValue
  {
    switch type {
    case .uint8: return .unsigned(UInt64(try read(UInt8.self, what())))
    case .int8: return .signed(Int64(try read(Int8.self, what())))
    case .uint16: return .unsigned(UInt64(try read(UInt16.self, what())))
    case .int16: return .signed(Int64(try read(Int16.self, what())))
    case .uint32: return .unsigned(UInt64(try read(UInt32.self, what())))
    case .int32: return .signed(Int64(try read(Int32.self, what())))
    case .uint64: return .unsigned(try read(UInt64.self, what()))
    case .int64: return .signed(try read(Int64.self, what()))
    case .float32: return .float(Float(bitPattern: try read(UInt32.self, what())))
    case .float64: return .double(Double(bitPattern: try read(UInt64.self, what())))
    case .bool:
      let byte = try read(UInt8.self, what())
      guard byte <= 1 else {
        throw EngineError.corrupt(file, "\(what()) is \(byte), neither true nor false")
      }
      return .bool(byte == 1)
    case .string: return .string(try readString(what()))
    case .array: return .array(try readArray(what()))
    }
  }

  private mutating func readArray(_ what: @autoclosure () -> String) throws -> GGUFArray {
    let type = try readType(what())
    guard type != .array else {
      throw EngineError.corrupt(file, "\(what()) is an array of arrays, which no model has")
    }
    let count = try readCount(ofSize: type.minimumSize, what())
    let start = offset
    if type == .string {
      for _ in 0..<count { _ = try readString(what()) }
    } else {
      _ = try take(UInt64(count * type.minimumSize), what())
    }
    let part = UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
    if type == .bool, let byte = part.first(where: { $0 > 1 }) {
      throw EngineError.corrupt(file, "\(what()) has \(byte), neither true nor false")
    }
    return GGUFArray(elementType: type, count: count, bytes: part)
  }
}
