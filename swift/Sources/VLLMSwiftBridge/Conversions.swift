import CVLLMSwift
import VLLMSwiftCore
import VLLMSwiftEngine
import VLLMSwiftModels

/// Runs the body of an exported call; an error becomes its code and its sentence.
func status(
  _ error: UnsafeMutablePointer<vsw_error>?, _ body: () throws -> Void
) -> vsw_status {
  do {
    try body()
    return vsw_status(VSW_OK)
  } catch let thrown {
    let thrown = thrown as? EngineError ?? EngineError(.internal, "\(thrown)")
    if let error { thrown.fill(&error.pointee) }
    return thrown.code.rawValue
  }
}

extension EngineError {
  func fill(_ error: inout vsw_error) {
    error.code = code.rawValue
    withUnsafeMutableBytes(of: &error.message) { VLLMSwiftBridge.fill($0, with: message) }
  }
}

/// Writes a text and a NUL, cut between characters where it does not fit.
func fill(_ bytes: UnsafeMutableRawBufferPointer, with message: String) {
  var text = message.utf8.prefix(bytes.count - 1)
  // A continuation byte must not be the first that is left out.
  while text.endIndex < message.utf8.endIndex, message.utf8[text.endIndex] & 0xC0 == 0x80 {
    text.removeLast()
  }
  bytes.copyBytes(from: text)
  bytes[text.count] = 0
}

/// A struct whose first field, `struct_size`, is the size its caller was compiled with.
protocol Sized {
  /// What the first version of the header had; a caller of that version has no more.
  static var firstSize: Int { get }
}

extension vsw_runtime_params: Sized {}
extension vsw_model_params: Sized {}
extension vsw_model_info: Sized {}
extension vsw_sampling_params: Sized {}
extension vsw_submit_params: Sized {}
extension vsw_poll_buffers: Sized {}
extension vsw_request_info: Sized {}
extension vsw_prefix_info: Sized {}
extension vsw_vocabulary: Sized {}
extension vsw_stats: Sized {
  static var firstSize: Int { MemoryLayout<Self>.offset(of: \.preemptions) ?? 0 }
}

extension Sized {
  static var firstSize: Int { MemoryLayout<Self>.size }

  /// Writes as much of a result as the caller has room for, who said how much in `struct_size`.
  static func write(_ result: Self, to pointer: UnsafeMutablePointer<Self>) {
    let given = Int(UnsafeRawPointer(pointer).loadUnaligned(as: UInt32.self))
    withUnsafeBytes(of: result) { bytes in
      let part = bytes.dropFirst(MemoryLayout<UInt32>.size).prefix(max(0, given - 4))
      UnsafeMutableRawBufferPointer(
        start: UnsafeMutableRawPointer(pointer) + MemoryLayout<UInt32>.size, count: part.count
      ).copyBytes(from: part)
    }
  }

  /// - Throws: `invalidArgument` if the caller's struct is smaller than the first version's,
  ///   `unsupported` if it is larger and what this version does not know is not zero.
  static func check(_ pointer: UnsafePointer<Self>) throws {
    let given = Int(UnsafeRawPointer(pointer).loadUnaligned(as: UInt32.self))
    let size = MemoryLayout<Self>.size
    guard given >= firstSize else {
      throw EngineError(
        .invalidArgument,
        "struct_size of \(Self.self) is \(given), and must be at least \(firstSize)")
    }
    let unknown = UnsafeRawBufferPointer(
      start: UnsafeRawPointer(pointer) + size, count: max(0, min(given, 4096) - size))
    guard given <= 4096, unknown.allSatisfy({ $0 == 0 }) else {
      throw EngineError(
        .unsupported, "\(Self.self) has fields that this version of the engine does not know")
    }
  }
}

/// - Throws: `invalidArgument` if it is NULL.
func required<Pointee>(
  _ pointer: UnsafePointer<Pointee>?, _ name: String
) throws -> UnsafePointer<Pointee> {
  guard let pointer else { throw EngineError(.invalidArgument, "\(name) is NULL") }
  return pointer
}

func required<Pointee>(
  _ pointer: UnsafeMutablePointer<Pointee>?, _ name: String
) throws -> UnsafeMutablePointer<Pointee> {
  guard let pointer else { throw EngineError(.invalidArgument, "\(name) is NULL") }
  return pointer
}

/// The caller's array, which may be NULL when it is empty.
func array<Element>(
  _ pointer: UnsafePointer<Element>?, count: Int, _ name: String
) throws -> [Element] {
  guard count > 0 else { return [] }
  return Array(UnsafeBufferPointer(start: try required(pointer, name), count: count))
}

func refuse(unless isDefault: Bool, _ name: String) throws {
  guard isDefault else {
    throw EngineError(.unsupported, "\(name) is not supported by this version of the engine")
  }
}

extension ModelOptions {
  init(_ params: vsw_model_params) throws {
    self.init()
    guard let device = Device(rawValue: params.device) else {
      throw EngineError(.invalidArgument, "device is \(params.device), no VSW_DEVICE_*")
    }
    guard let kernels = Kernels(rawValue: params.kernels) else {
      throw EngineError(.invalidArgument, "kernels is \(params.kernels), no VSW_KERNELS_*")
    }
    try refuse(
      unless: params.reserved == (0, 0) && params.reserved_word == 0,
      "a reserved field of vsw_model_params")
    cacheTokens = params.kv_cache_tokens == 0 ? nil : Int(params.kv_cache_tokens)
    (self.device, self.kernels) = (device, kernels)
    maxModelLength = params.max_model_len == 0 ? nil : Int(params.max_model_len)
    maxSequences = params.max_num_seqs == 0 ? nil : Int(params.max_num_seqs)
    maxRows = params.max_num_batched_tokens == 0 ? nil : Int(params.max_num_batched_tokens)
    memoryBudget = params.memory_budget == 0 ? nil : Int(clamping: params.memory_budget)
  }
}

extension vsw_submit_params {
  /// - Throws: `unsupported`, naming the first reserved field that is in use.
  func prompt(for model: LoadedModel) throws -> Runtime.Prompt {
    try refuse(unless: adapter_id == 0, "adapter_id")
    try refuse(unless: embedding_count == 0 && embeddings == nil, "embeddings")
    let beginning = try prefix.map { try Handles.prefixes.object($0).tokens(for: model) } ?? []
    var prompt = Runtime.Prompt(
      tokens: beginning + (try array(tokens, count: token_count, "tokens")))
    if let sampling {
      try vsw_sampling_params.check(sampling)
      prompt.sampling = try SamplingParams(sampling.pointee)
      prompt.n = Int(sampling.pointee.n)
    }
    prompt.priority = Int(priority)
    prompt.grammar = try grammar.map { try Handles.grammars.object($0).grammar(for: model) }
    // Later than any clock goes is no deadline.
    let timeout = min(timeout_us, 1 << 50)
    prompt.timeout = timeout == 0 ? nil : .microseconds(Int64(timeout))
    return prompt
  }
}

// MARK: - Histograms

extension vsw_histogram {
  init(_ histogram: Histogram.Summary) {
    self.init()
    count = histogram.count
    sum_us = histogram.microseconds
    copy(histogram.atMost, to: &at_most)
  }
}

/// Fills a C array of as many elements, which Swift sees as a tuple.
func copy<Tuple>(_ values: [UInt64], to array: inout Tuple) {
  precondition(MemoryLayout<Tuple>.size == values.count * MemoryLayout<UInt64>.size)
  withUnsafeMutableBytes(of: &array) { target in
    values.withUnsafeBytes { target.copyMemory(from: $0) }
  }
}
