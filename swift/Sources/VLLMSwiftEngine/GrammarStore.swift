import VLLMSwiftCore
import VLLMSwiftGrammar

/// A model's vocabulary, and the grammars that were compiled for it lately.
final class GrammarStore: Sendable {
  /// Compiled grammars that are kept, and bytes of their texts, beside those in use.
  private static let capacity = 128
  private static let textCapacity = 4 << 20

  private struct State {
    var grammars: [GrammarSource: (grammar: Grammar, used: UInt64)] = [:]
    var uses: UInt64 = 0
    var textBytes = 0

    mutating func find(_ source: GrammarSource) -> Grammar? {
      guard let known = grammars[source]?.grammar else { return nil }
      uses += 1
      grammars[source]?.used = uses
      return known
    }

    mutating func keep(_ grammar: Grammar, for source: GrammarSource) {
      guard find(source) == nil else { return }
      uses += 1
      grammars[source] = (grammar, uses)
      textBytes += source.text.utf8.count
      while grammars.count > GrammarStore.capacity || textBytes > GrammarStore.textCapacity,
        let oldest = grammars.min(by: { $0.value.used < $1.value.used })?.key
      {
        grammars[oldest] = nil
        textBytes -= oldest.text.utf8.count
      }
    }
  }

  private let vocabulary: Vocabulary
  private let state = Monitor(State())

  init(_ vocabulary: Vocabulary) {
    self.vocabulary = vocabulary
  }

  /// - Throws: as `Grammar`.
  func grammar(_ source: GrammarSource) throws -> Grammar {
    if let known = state.withLock({ $0.find(source) }) { return known }
    // Not under the lock: others need not wait for it.
    let grammar = try compile(source)
    state.withLock { $0.keep(grammar, for: source) }
    return grammar
  }

  /// In a thread of its own: the stack of the caller's may be small.
  private func compile(_ source: GrammarSource) throws -> Grammar {
    let (vocabulary, reply) = (vocabulary, Reply<Grammar>())
    let thread = try SystemThread(stackBytes: Grammar.stackBytes) {
      reply.fulfill { try Grammar(source, vocabulary) }
    }
    defer { thread.join() }
    return try reply.wait()
  }
}

extension Runtime {
  /// Gives a model the vocabulary that its grammars need, in place of any before.
  /// - Parameters:
  ///   - tokens: no more than the model has; the others are never drawn under a grammar.
  ///   - library: llguidance's path.
  /// - Throws: `grammarLibrary`, `invalidToken`, `invalidArgument`.
  public func setVocabulary(
    _ tokens: Vocabulary.Tokens, library: String, of model: ModelID
  ) throws {
    let size = try summary(model).limits.vocabularySize
    guard tokens.bytes.count <= size else {
      throw EngineError(
        .invalidArgument,
        "the vocabulary has \(tokens.bytes.count) tokens, and the model has \(size)")
    }
    var padded = tokens
    padded.bytes += Array(repeating: [], count: size - tokens.bytes.count)
    let store = GrammarStore(try Vocabulary(padded, library: library))
    grammars.withLock { $0[model] = store }
  }

  /// Compiles a grammar while the caller waits, unless the same was compiled lately.
  /// - Throws: `invalidArgument` before the model has a vocabulary; else as `Grammar`.
  public func grammar(_ source: GrammarSource, of model: ModelID) throws -> Grammar {
    _ = try summary(model)
    guard let store = grammars.withLock({ $0[model] }) else {
      throw EngineError(
        .invalidArgument, "the model has no vocabulary: call vsw_model_set_vocabulary first")
    }
    return try store.grammar(source)
  }
}
