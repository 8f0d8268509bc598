import VLLMSwiftCore

/// The way to the end of a grammar, so that an output which runs out of tokens ends in valid JSON.
///
/// The library has no shortest completion. This takes, one after another, what is forced, or else
/// what closes or is short: brackets, quotes, a zero. It need not be the shortest way.
struct Closing {
  private let vocabulary: Vocabulary

  init(_ vocabulary: Vocabulary) {
    self.vocabulary = vocabulary
  }

  /// The tokens that end an output; none where it may end as it is.
  /// - Returns: nil if there are more than `limit`, or none were found.
  func tokens(from matcher: Matcher, limit: Int) -> [Int32]? {
    matcher.isAccepting ? [] : try? follow(matcher.clone(), limit: limit)
  }

  /// The same from where the matcher was before its last tokens. Also nil where the grammar takes no
  /// token back, as with Lark's `stop` and `max_tokens`.
  func tokens(from matcher: Matcher, without last: Int, limit: Int) -> [Int32]? {
    let before = matcher.clone()
    guard (try? before.takeBack(last)) != nil else { return nil }
    return tokens(from: before, limit: limit)
  }

  /// As `tokens`, and takes the matcher there.
  func follow(_ matcher: Matcher, limit: Int) throws -> [Int32]? {
    var tokens: [Int32] = []
    while !matcher.isStopped, !matcher.isAccepting {
      guard tokens.count < limit else { return nil }
      var next = try matcher.forced(limit: limit - tokens.count)
      if next.isEmpty {
        guard let token = choice(try matcher.mask()) else { return nil }
        next = [token]
      }
      try matcher.consume(next)
      tokens += next
    }
    return tokens
  }

  private static let structure = Array("}]\",:01{[".utf8)
  private static let text = Array("\"0a".utf8) + Array(0x21...0x7E)

  private func choice(_ mask: [UInt32]) -> Int32? {
    func allows(_ token: Int32) -> Bool { mask[Int(token) / 32] >> (token % 32) & 1 == 1 }
    func first(_ characters: [UInt8]) -> Int32? {
      characters.lazy.compactMap { vocabulary.tokenOfByte[$0] }.first(where: allows)
    }
    // Brackets close nothing within a string, where letters may come.
    let isText = first([UInt8(ascii: "a")]) != nil
    if let token = (isText ? nil : first(Self.structure)) ?? first(Self.text) { return token }
    let word = mask.firstIndex { $0 != 0 }
    return word.map { Int32(32 * $0 + mask[$0].trailingZeroBitCount) }
  }
}
