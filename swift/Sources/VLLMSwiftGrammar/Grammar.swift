import CLLGuidance
import VLLMSwiftCore

/// A grammar as its author writes it.
public struct GrammarSource: Sendable, Hashable {
  /// The raw values are those of `vllm_swift.h`.
  public enum Kind: Int32, Sendable {
    case jsonSchema = 0
    case regex = 1
    case lark = 2
  }

  public let kind: Kind
  public let text: String

  public init(_ kind: Kind, _ text: String) {
    (self.kind, self.text) = (kind, text)
  }
}

/// A compiled grammar of one model. Any thread may compile one, and make matchers of it.
public final class Grammar: @unchecked Sendable {
  /// What compiling takes of its thread's stack at most: 5 KB for each of `GrammarLimits.maxLevels`.
  public static let stackBytes = 512 << 20

  let vocabulary: Vocabulary
  private let start: Matcher
  /// Tokens of a way through the whole of it; nil if none was found.
  let closingLength: Int?

  /// - Throws: `invalidGrammar` with what is wrong; `grammarTooComplex` for one beyond
  ///   `GrammarLimits`.
  public init(_ source: GrammarSource, _ vocabulary: Vocabulary) throws {
    try GrammarLimits.check(source)
    self.vocabulary = vocabulary
    let functions = vocabulary.functions
    var parameters = llg_init()
    functions.constraint_init_set_defaults(&parameters, vocabulary.handle)
    parameters.log_stderr_level = 0
    parameters.log_buffer_level = 0
    GrammarLimits.apply(to: &parameters.limits)
    let handle = functions.new_matcher(&parameters, source.kind.name, source.text)
    let compiled = Matcher(vocabulary, handle)
    if let why = functions.matcher_get_error(handle) {
      throw GrammarLimits.error(String(cString: why))
    }
    // A lexer learns its states as they are met, and a clone knows them: whoever begins an output
    // finds those of one way through the grammar, and its first mask.
    let walked = compiled.clone()
    let way = try? Closing(vocabulary).follow(walked, limit: 256)
    closingLength = way?.count
    let isBack = way.map { (try? walked.takeBack($0.count)) != nil } ?? false
    start = isBack ? walked : compiled
    _ = try? start.mask()
  }

  /// At the beginning of an output.
  public func matcher() -> Matcher { start.clone() }
}

extension GrammarSource.Kind {
  fileprivate var name: String {
    switch self {
    case .jsonSchema: "json_schema"
    case .regex: "regex"
    case .lark: "lark"
    }
  }
}
