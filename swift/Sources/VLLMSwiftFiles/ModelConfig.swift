import VLLMSwiftCore

/// A model's hyperparameters under the keys of Hugging Face's config.json.
///
/// Each lookup throws `modelCorrupt`, naming file and key, when the value is not of the kind asked
/// for. A JSON `null` counts as absent.
public struct ModelConfig: Sendable {
  /// The file they come from, named in errors.
  public let file: String
  public let values: [String: JSONValue]

  public init(file: String, values: [String: JSONValue]) {
    self.file = file
    self.values = values
  }

  public subscript(key: String) -> JSONValue? {
    values[key] == .null ? nil : values[key]
  }

  public func int(_ key: String) throws -> Int? {
    switch self[key] {
    case nil: return nil
    case .int(let value): return value
    case .double(let value):
      guard let exact = Int(exactly: value) else { throw wrongKind(key, "an integer") }
      return exact
    default: throw wrongKind(key, "an integer")
    }
  }

  /// A number of things, and one that multiplies with three others without overflow.
  public func size(_ key: String) throws -> Int? {
    guard let value = try int(key) else { return nil }
    guard (1...Int(Int32.max)).contains(value) else {
      throw EngineError.corrupt(file, "\(quoted(key)) is \(value), not a size")
    }
    return value
  }

  public func requiredSize(_ key: String) throws -> Int {
    guard let value = try size(key) else { throw missing(key) }
    return value
  }

  /// Finite.
  public func double(_ key: String) throws -> Double? {
    switch self[key] {
    case nil: return nil
    case .int(let value): return Double(value)
    case .double(let value) where value.isFinite: return value
    default: throw wrongKind(key, "a number")
    }
  }

  public func requiredDouble(_ key: String) throws -> Double {
    guard let value = try double(key) else { throw missing(key) }
    return value
  }

  public func bool(_ key: String) throws -> Bool? {
    switch self[key] {
    case nil: return nil
    case .bool(let value): return value
    default: throw wrongKind(key, "true or false")
    }
  }

  public func string(_ key: String) throws -> String? {
    switch self[key] {
    case nil: return nil
    case .string(let value): return value
    default: throw wrongKind(key, "a string")
    }
  }

  /// A config nested in this one, such as `rope_scaling`.
  public func object(_ key: String) throws -> ModelConfig? {
    switch self[key] {
    case nil: return nil
    case .object(let values): return ModelConfig(file: file, values: values)
    default: throw wrongKind(key, "an object")
    }
  }

  private func missing(_ key: String) -> EngineError {
    .corrupt(file, "\(quoted(key)) is missing")
  }

  private func wrongKind(_ key: String, _ kind: String) -> EngineError {
    .corrupt(file, "\(quoted(key)) is not \(kind)")
  }
}
