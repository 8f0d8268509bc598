/// What a step costs, as far as scheduling is concerned: a fixed model and never the clock, so that
/// the same arrivals give the same steps. The unit is one row without context.
///
///     cost of a step = fixed + sum over its sequences of (position / contextPerSequence
///                                + sum over their rows of (1 + position / contextPerRow))
public struct StepCost: Sendable, Equatable {
  /// What a step costs whatever is in it: reading the weights once.
  public var fixed: Double
  /// So many tokens of context cost as much to attend to as the rest of a row costs.
  public var contextPerRow: Double
  /// So many tokens of context cost as much to read, once for all rows of a sequence.
  public var contextPerSequence: Double

  public init(fixed: Double, contextPerRow: Double, contextPerSequence: Double) {
    (self.fixed, self.contextPerRow) = (fixed, contextPerRow)
    self.contextPerSequence = contextPerSequence
  }

  /// A step that decodes costs at most this many times what its decoding rows alone would, were
  /// their contexts short: a prompt that arrives beside running streams slows them by no more, and
  /// itself by about most / (most - 1).
  static let most = 3.6

  /// The cost of `count` rows of a sequence, the first at `position`.
  func rows(_ count: Int, at position: Int) -> Double {
    guard count > 0 else { return 0 }
    let (count, position) = (Double(count), Double(position))
    return position / contextPerSequence + count
      + count * (position + (count - 1) / 2) / contextPerRow
  }

  /// The most rows of a sequence from `position` on that cost no more than `budget`: the inverse of
  /// `rows`.
  func rows(within budget: Double, at position: Int) -> Int {
    let budget = budget - Double(position) / contextPerSequence
    guard budget > 0 else { return 0 }
    // rows(count) = position / contextPerSequence + count * first + count^2 / (2 contextPerRow)
    let first = 1 + (Double(position) - 0.5) / contextPerRow
    let root = (first * first + 2 * budget / contextPerRow).squareRoot()
    return Int(min(contextPerRow * (root - first), 1e9))
  }

  /// What prompts may cost beside `count` decoding rows, which cost `decoding` with their contexts:
  /// always the same beside so many rows, so that steps are of one length, but half of a step.
  func ofPrompts(beside count: Int, costing decoding: Double) -> Double {
    max((Self.most - 1) * (fixed + Double(count)), decoding)
  }
}
