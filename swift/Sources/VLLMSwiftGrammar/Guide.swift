import VLLMSwiftCore

/// Holds one output to its grammar.
public final class Guide {
  /// What a draw may force at once; more follows with the next.
  private static let mostForced = 256

  private let matcher: Matcher
  private let forces: Bool

  /// - Parameter forces: whether tokens that leave no choice come with a draw; else each is drawn.
  public init(_ grammar: Grammar, forces: Bool) {
    matcher = grammar.matcher()
    self.forces = forces
  }

  /// A bit for each token that may come next.
  /// - Throws: `invalidGrammar` where none may; `grammarTooComplex`.
  public func mask() throws -> [UInt32] { try matcher.mask() }

  /// Takes a drawn token in.
  /// - Parameter room: the tokens that the output may have after it.
  /// - Throws: as `mask`.
  public func accept(_ token: Int32, room: Int) throws -> Scheduler.Draw {
    try matcher.consume(token)
    if matcher.isStopped {
      // An end token that is no stop token of its request is no part of the output.
      return Scheduler.Draw(matcher.ends(with: token) ? [] : [token], finish: .stop)
    }
    let forced = forces ? try matcher.forced(limit: min(room, Self.mostForced)) : []
    try matcher.consume(forced)
    return Scheduler.Draw([token] + forced, finish: matcher.isStopped ? .stop : nil)
  }
}
