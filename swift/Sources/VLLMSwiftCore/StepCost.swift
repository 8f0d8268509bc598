/// What a step costs, as far as scheduling is concerned: a fixed model and never the clock, so that
/// the same arrivals give the same steps. The unit is one row without context.
///
///     cost of a step = fixed + sum over its rows of (1 + position / contextPerRow)
public struct StepCost: Sendable, Equatable {
  /// What a step costs whatever is in it: reading the weights once.
  public var fixed: Double
  /// So many tokens of context cost as much to attend to as the rest of a row costs.
  public var contextPerRow: Double

  public init(fixed: Double, contextPerRow: Double) {
    (self.fixed, self.contextPerRow) = (fixed, contextPerRow)
  }

  /// A step that decodes costs at most this many times what its decoding rows alone would: a prompt
  /// that arrives beside running streams slows them by no more, and itself by about
  /// most / (most - 1).
  static let most = 3.6

  /// The cost of `count` rows, the first at `position`.
  func rows(_ count: Int, at position: Int) -> Double {
    let (count, position) = (Double(count), Double(position))
    return count + count * (position + (count - 1) / 2) / contextPerRow
  }

  /// The most rows from `position` on that cost no more than `budget`: the inverse of `rows`.
  func rows(within budget: Double, at position: Int) -> Int {
    guard budget > 0 else { return 0 }
    // rows(count) = count * first + count^2 / (2 contextPerRow)
    let first = 1 + (Double(position) - 0.5) / contextPerRow
    let root = (first * first + 2 * budget / contextPerRow).squareRoot()
    return Int(min(contextPerRow * (root - first), 1e9))
  }
}
