import VLLMSwiftCore
import VLLMSwiftEngine
import VLLMSwiftFiles
import VLLMSwiftGrammar

/// Objects that callers hold by name. A handle is never followed as an address, so a stale or forged
/// one is an error and no crash.
final class HandleTable<Object: Sendable>: Sendable {
  private struct State {
    var objects: [UInt: Object] = [:]
    var next: UInt = 1
  }

  private let kind: String
  private let state = Monitor(State())

  init(_ kind: String) {
    self.kind = kind
  }

  func insert(_ object: Object) -> OpaquePointer? {
    state.withLock { state in
      let name = state.next
      state.next += 1
      state.objects[name] = object
      return OpaquePointer(bitPattern: name)
    }
  }

  /// - Throws: `invalidHandle`.
  func object(_ handle: OpaquePointer?) throws -> Object {
    guard let object = state.withLock({ $0.objects[UInt(bitPattern: handle)] }) else {
      throw EngineError(
        .invalidHandle, "this is no handle of a \(kind), or of one that was closed")
    }
    return object
  }

  func remove(_ handle: OpaquePointer?) -> Object? {
    state.withLock { $0.objects.removeValue(forKey: UInt(bitPattern: handle)) }
  }
}

struct LoadedModel: Sendable {
  let runtime: Runtime
  let id: ModelID
}

struct KeptPrefix: Sendable {
  let runtime: Runtime
  let pinned: PinnedPrefix

  /// - Throws: `invalidArgument` if it is another model's.
  func tokens(for model: LoadedModel) throws -> [Int32] {
    guard model.runtime === runtime, model.id == pinned.model else {
      throw EngineError(.invalidArgument, "the prefix belongs to another model")
    }
    return pinned.tokens
  }
}

struct CompiledGrammar: Sendable {
  let model: LoadedModel
  let compiled: Grammar

  /// - Throws: `invalidArgument` if it is another model's.
  func grammar(for model: LoadedModel) throws -> Grammar {
    guard model.runtime === self.model.runtime, model.id == self.model.id else {
      throw EngineError(.invalidArgument, "the grammar belongs to another model")
    }
    return compiled
  }
}

/// A checkpoint, and the JSON texts that callers were given pointers into.
final class OpenFile: Sendable {
  let checkpoint: any Checkpoint
  private let texts = Monitor<[CheckpointSection: Text]>([:])

  /// NUL-terminated, and freed with the file.
  private struct Text: @unchecked Sendable {
    let bytes: UnsafeMutableBufferPointer<CChar>
  }

  init(_ checkpoint: any Checkpoint) {
    self.checkpoint = checkpoint
  }

  deinit {
    texts.withLock { for text in $0.values { text.bytes.deallocate() } }
  }

  /// - Returns: the text, and its bytes without the NUL.
  func json(_ section: CheckpointSection) throws -> (UnsafePointer<CChar>?, Int) {
    try texts.withLock { texts in
      if let text = texts[section] {
        return (UnsafePointer(text.bytes.baseAddress), text.bytes.count - 1)
      }
      let json = try checkpoint.json(section)
      let bytes = UnsafeMutableBufferPointer<CChar>.allocate(capacity: json.count + 1)
      _ = bytes.initialize(from: json.lazy.map { CChar(bitPattern: $0) } + [0])
      texts[section] = Text(bytes: bytes)
      return (UnsafePointer(bytes.baseAddress), json.count)
    }
  }
}

enum Handles {
  static let files = HandleTable<OpenFile>("model file")
  static let runtimes = HandleTable<Runtime>("runtime")
  static let models = HandleTable<LoadedModel>("model")
  static let prefixes = HandleTable<KeptPrefix>("prefix")
  static let grammars = HandleTable<CompiledGrammar>("grammar")
}
