import CLLGuidance
import VLLMSwiftCore

/// How far one output is in its grammar. One thread at a time.
public final class Matcher {
  private let vocabulary: Vocabulary
  private let handle: OpaquePointer
  private var functions: llg_functions { vocabulary.functions }

  init(_ vocabulary: Vocabulary, _ handle: OpaquePointer) {
    (self.vocabulary, self.handle) = (vocabulary, handle)
  }

  deinit { functions.free_matcher(handle) }

  func clone() -> Matcher { Matcher(vocabulary, functions.clone_matcher(handle)) }

  /// A bit for each token that may come next.
  /// - Throws: `invalidGrammar` where none may; `grammarTooComplex`.
  public func mask() throws -> [UInt32] {
    try [UInt32](unsafeUninitializedCapacity: vocabulary.maskWords) { words, count in
      count = words.count
      try check(functions.matcher_compute_mask_into(handle, words.baseAddress, 4 * words.count))
    }
  }

  /// The mask of one token alone.
  func mask(of token: Int32) -> [UInt32] {
    var words = [UInt32](repeating: 0, count: vocabulary.maskWords)
    words[Int(token) / 32] = 1 << (token % 32)
    return words
  }

  /// - Throws: for a token that the mask does not have, and as `mask`.
  public func consume(_ token: Int32) throws {
    try check(functions.matcher_consume_token(handle, UInt32(bitPattern: token)))
  }

  func consume(_ tokens: [Int32]) throws {
    try check(
      functions.matcher_consume_tokens(handle, tokens.map { UInt32(bitPattern: $0) }, tokens.count))
  }

  func takeBack(_ count: Int) throws {
    try check(functions.matcher_rollback(handle, count))
  }

  /// How many of the tokens it would consume, one after another.
  func accepts(_ tokens: [Int32]) throws -> Int {
    let count = functions.matcher_validate_tokens(
      handle, tokens.map { UInt32(bitPattern: $0) }, tokens.count)
    try check(min(count, 0))
    return Int(count)
  }

  /// The tokens that have to come next, at most `limit`; not consumed.
  public func forced(limit: Int) throws -> [Int32] {
    guard limit > 0 else { return [] }
    return try [Int32](unsafeUninitializedCapacity: limit) { tokens, count in
      let given = tokens.withMemoryRebound(to: UInt32.self) {
        functions.matcher_compute_ff_tokens(handle, $0.baseAddress, limit)
      }
      try check(min(given, 0))
      count = Int(given)
    }
  }

  /// Whether the output may end here.
  var isAccepting: Bool { functions.matcher_is_accepting(handle) }
  /// Whether it has to.
  public var isStopped: Bool { functions.matcher_is_stopped(handle) }

  /// Whether a token is one that ends an output.
  func ends(with token: Int32) -> Bool { vocabulary.ends.contains(token) }

  private func check(_ status: Int32) throws {
    guard status != 0 else { return }
    let why = functions.matcher_get_error(handle).map { String(cString: $0) }
    throw GrammarLimits.error(why ?? "it gave no reason")
  }
}
