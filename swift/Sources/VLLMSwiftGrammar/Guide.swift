import VLLMSwiftCore

/// Holds one output to its grammar, and ends it there when its tokens run out.
public final class Guide {
  /// What a draw may force at once; more follows with the next.
  private static let mostForced = 256
  /// The way to the end is looked for while no more tokens are left than this, and than this many
  /// times its length at the beginning.
  private static let (closeTokens, closeTimes) = (64, 4)

  private let matcher: Matcher
  private let forces: Bool
  private let closing: Closing
  /// The way is looked for while fewer tokens are left than this.
  private var nextLook: Int
  /// The way to the end from where so many tokens were left.
  private var way: (tokens: [Int32], left: Int)?
  /// What is left of the way that is being followed.
  private var followed: ArraySlice<Int32>?

  /// - Parameters:
  ///   - forces: whether tokens that leave no choice come with a draw; else each is drawn.
  ///   - closes: whether the output is ended when its tokens run out; else it is cut.
  public init(_ grammar: Grammar, forces: Bool, closes: Bool) {
    matcher = grammar.matcher()
    self.forces = forces
    closing = Closing(grammar.vocabulary)
    nextLook = closes ? max(Self.closeTokens, Self.closeTimes * (grammar.closingLength ?? 0)) : 0
  }

  /// A bit for each token that may come next.
  /// - Throws: `invalidGrammar` where none may; `grammarTooComplex`.
  public func mask() throws -> [UInt32] {
    guard let next = followed?.first else { return try matcher.mask() }
    return matcher.mask(of: next)
  }

  /// Takes a drawn token in.
  /// - Parameter room: the tokens that the output may have after it.
  /// - Returns: no tokens if it is to be drawn again.
  /// - Throws: as `mask`.
  public func accept(_ token: Int32, room: Int) throws -> Scheduler.Draw {
    if followed != nil { return follow(token) }
    let draw = try taken(token, room: room)
    let left = room - (draw.tokens.count - 1)
    guard draw.finish == nil, left < nextLook else { return draw }
    guard let found = closing.tokens(from: matcher, limit: left) else {
      let known = way?.left == room + 1 ? way?.tokens : nil
      return close(instead: draw, along: known, room: room + 1)
    }
    way = (found, left)
    // A draw seldom makes the way longer by more than a few tokens.
    nextLook = left - (left - found.count) / 8
    return draw
  }

  private func taken(_ token: Int32, room: Int) throws -> Scheduler.Draw {
    try matcher.consume(token)
    if matcher.isStopped {
      // An end token that is no stop token of its request is no part of the output.
      return Scheduler.Draw(matcher.ends(with: token) ? [] : [token], finish: .stop)
    }
    let forced = forces ? try matcher.forced(limit: min(room, Self.mostForced)) : []
    try matcher.consume(forced)
    return Scheduler.Draw([token] + forced, finish: matcher.isStopped ? .stop : nil)
  }

  /// Goes to the end at once instead of a draw after which that is too far.
  private func close(
    instead draw: Scheduler.Draw, along known: [Int32]?, room: Int
  ) -> Scheduler.Draw {
    guard let way = known ?? closing.tokens(from: matcher, without: draw.tokens.count, limit: room)
    else {
      // There was no way before either; there may be one later.
      nextLook = room - max(1, room / 8)
      return draw
    }
    guard !forces else { return Scheduler.Draw(way, finish: .length) }
    followed = way[...]
    return Scheduler.Draw([], finish: way.isEmpty ? .length : nil)
  }

  private func follow(_ token: Int32) -> Scheduler.Draw {
    followed = followed?.dropFirst()
    return Scheduler.Draw([token], finish: followed?.isEmpty == true ? .length : nil)
  }
}
