import VLLMSwiftCore

/// The keys of one architecture in a GGUF file's metadata, such as `llama.block_count`. It remembers
/// which were looked at, so that none is ignored in silence.
struct GGUFKeys {
  private let file: GGUFFile
  private let architecture: String
  private var seen: Set<String> = []

  init(_ file: GGUFFile, of architecture: String) {
    self.file = file
    self.architecture = architecture
  }

  mutating func optionalSize(_ key: String) throws -> Int? {
    guard let value = look(key) else { return nil }
    guard let size = value.int, (1...Int(Int32.max)).contains(size) else {
      throw EngineError.corrupt(file.map.path, "\(full(key)) is not a size")
    }
    return size
  }

  /// - Parameter standard: for files without the key; nil: it must be there.
  mutating func size(_ key: String, default standard: Int? = nil) throws -> Int {
    guard let size = try optionalSize(key) ?? standard, size > 0 else { throw missing(key) }
    return size
  }

  mutating func optionalNumber(_ key: String) throws -> Double? {
    switch look(key) {
    case nil: return nil
    // Through its shortest decimal: 1e-05 as a float is 9.99999974e-06 as a double.
    case .float(let value) where value.isFinite: return Double(value.description)
    case .double(let value) where value.isFinite: return value
    default:
      throw EngineError.corrupt(file.map.path, "\(full(key)) is not a finite number")
    }
  }

  mutating func number(_ key: String, default standard: Double? = nil) throws -> Double {
    guard let number = try optionalNumber(key) ?? standard else { throw missing(key) }
    return number
  }

  mutating func optionalString(_ key: String) throws -> String? {
    guard let value = look(key) else { return nil }
    guard case .string(let bytes) = value, let string = String(utf8: bytes) else {
      throw EngineError.corrupt(file.map.path, "\(full(key)) is not a string")
    }
    return string
  }

  /// Other values than `expected` are legal, but nothing here computes with them.
  mutating func require(_ key: String, _ expected: Int) throws {
    guard let value = look(key), value.int != expected else { return }
    throw unsupported("\(full(key)) is not \(expected)")
  }

  mutating func allow(_ keys: [String]) { seen.formUnion(keys) }

  func refuseRest() throws {
    let prefix = architecture + "."
    for (key, _) in file.metadata where key.hasPrefix(prefix) {
      guard seen.contains(String(key.dropFirst(prefix.count))) else {
        throw unsupported("the key \(quoted(key))")
      }
    }
  }

  func unsupported(_ what: String) -> EngineError {
    EngineError(
      .unsupportedArchitecture,
      "\(file.map.path) is a variant of the architecture '\(architecture)' that is not supported: "
        + what)
  }

  private mutating func look(_ key: String) -> GGUFValue? {
    seen.insert(key)
    return file["\(architecture).\(key)"]
  }

  private func full(_ key: String) -> String { "'\(architecture).\(key)'" }

  private func missing(_ key: String) -> EngineError {
    .corrupt(file.map.path, "\(full(key)) is missing")
  }
}
