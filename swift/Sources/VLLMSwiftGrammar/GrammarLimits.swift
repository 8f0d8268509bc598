import CLLGuidance
import VLLMSwiftCore

/// What a grammar may cost. A grammar is data from strangers: whatever it holds, it is compiled or
/// refused in a bounded time, and a mask of it takes milliseconds at most.
enum GrammarLimits {
  /// UTF-8 bytes of a grammar.
  static let maxTextBytes = 1 << 20
  /// Brackets within brackets. llguidance reads grammars by recursion.
  static let maxDepth = 100
  /// Brackets and colons. It follows names by recursion as well, of rules and of `$ref`s, so that
  /// each may take it a level deeper.
  static let maxLevels = 50_000
  /// `?`, `*` and `+` outside of JSON. A lexer takes time and memory by the square of how many come one
  /// after another, before its fuel is counted: half a second and 80 MB for so many.
  static let maxRepeats = 2_000
  private static let repeating = Array("?*+".utf8)

  /// - Throws: `grammarTooComplex`; `invalidGrammar` for text that C cannot hold.
  static func check(_ source: GrammarSource) throws {
    let text = source.text.utf8
    guard text.count <= maxTextBytes else {
      throw tooComplex("it has \(text.count) bytes, and may have \(maxTextBytes)")
    }
    guard !text.contains(0) else {
      throw EngineError(.invalidGrammar, "the grammar has a NUL character")
    }
    let repeats = text.count { repeating.contains($0) }
    guard source.kind == .jsonSchema || repeats <= maxRepeats else {
      throw tooComplex("it has \(repeats) of ?, * and +, and may have \(maxRepeats)")
    }
    try checkLevels(source)
  }

  private static func checkLevels(_ source: GrammarSource) throws {
    let text = source.text.utf8
    var (depth, levels) = (0, 0)
    for byte in text {
      if byte == UInt8(ascii: "(") || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "{") {
        depth += 1
        levels += 1
      } else if byte == UInt8(ascii: ")") || byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}")
      {
        depth = max(0, depth - 1)
      } else if byte == UInt8(ascii: ":") {
        levels += 1
      }
      guard depth <= maxDepth else {
        throw tooComplex("it nests brackets more than \(maxDepth) deep")
      }
    }
    guard source.kind == .regex || levels <= maxLevels else {
      throw tooComplex("it has \(levels) brackets and colons, and may have \(maxLevels)")
    }
  }

  /// Half a megabyte of symbols, 20 ms to build a lexer, 7 ms for the worst mask, and for a matcher's
  /// lexer about 50 MB.
  static func apply(to limits: inout llg_limits) {
    limits.initial_lexer_fuel = 1_000_000
    limits.step_lexer_fuel = 100_000
    limits.step_max_items = 50_000
    limits.max_lexer_states = 50_000
    limits.max_grammar_size = 500_000
    limits.verbose_errors = false
  }

  /// The error for what llguidance says.
  static func error(_ said: String) -> EngineError {
    // Marks begin what is for its developers: states and backtraces.
    let why = said.split(separator: "\n").prefix { !$0.hasPrefix("<") }.joined(separator: "\n")
    if why == "NoExtensionBias" {
      return EngineError(.invalidGrammar, "the grammar allows no token here, and no end either")
    }
    return complaintsOfCost.contains { why.utf8.holds($0.utf8) }
      ? tooComplex(why) : EngineError(.invalidGrammar, "the grammar cannot be used: \(why)")
  }

  private static let complaintsOfCost = [
    "limit", "too many", "too large", "too big", "fuel", "too complex", "TooComplex",
    "symbols.len()",
  ]

  private static func tooComplex(_ why: String) -> EngineError {
    EngineError(.grammarTooComplex, "the grammar is too large or too complex: \(why)")
  }
}

extension String.UTF8View {
  /// `contains` of strings would bring the library of regular expressions.
  fileprivate func holds(_ other: String.UTF8View) -> Bool {
    indices.contains { self[$0...].starts(with: other) }
  }
}
