/// What a step costs, as far as scheduling is concerned: a fixed model and never the clock, so that
/// the same arrivals give the same steps. The unit is one row without context.
///
///     cost of a step = fixed + sum over its sequences of
///       rows + max(position / contextPerSequence, sum over the rows of position / contextPerRow)
///
/// The context of few rows takes as long as it takes to read, that of more as long as to attend to.
public struct StepCost: Sendable, Equatable {
  /// What a step costs whatever is in it: reading the weights once.
  public var fixed: Double
  /// So many tokens of context cost as much to attend to as the rest of a row costs.
  public var contextPerRow: Double
  /// So many tokens of context cost as much to read, for all rows of a sequence at once.
  public var contextPerSequence: Double
  /// The layers that rows can pass through in steps of their own; 1: all are one step's.
  public var layers: Int

  public init(
    fixed: Double, contextPerRow: Double, contextPerSequence: Double, layers: Int = 1
  ) {
    (self.fixed, self.contextPerRow) = (fixed, contextPerRow)
    (self.contextPerSequence, self.layers) = (contextPerSequence, layers)
  }

  /// A step with prompts costs this many times what its decoding rows alone would, were their
  /// contexts short: a prompt that arrives beside running streams slows them by no more, and itself
  /// by most / (most - 1) and what its smaller chunks lose.
  static let most = 3.7

  /// So many rows of a prompt cost hardly more each than any number does.
  static let wide = 128

  /// The cost of `count` rows of a sequence, the first at `position`.
  func rows(_ count: Int, at position: Int) -> Double {
    guard count > 0 else { return 0 }
    let (count, position) = (Double(count), Double(position))
    return count
      + max(position / contextPerSequence, count * (position + (count - 1) / 2) / contextPerRow)
  }

  /// The most rows of a sequence from `position` on that cost no more than `budget`: the inverse of
  /// `rows`.
  func rows(within budget: Double, at position: Int) -> Int {
    guard budget > 0 else { return 0 }
    let position = Double(position)
    // count + count * (position + (count - 1) / 2) / contextPerRow = budget
    let first = 1 + (position - 0.5) / contextPerRow
    let root = (first * first + 2 * budget / contextPerRow).squareRoot()
    let attended = contextPerRow * (root - first)
    let read = budget - position / contextPerSequence
    return Int(max(0, min(attended, read, 1e9)))
  }

  /// How many rows from `position` on are to pass through some of the layers a step, where a step may
  /// cost `budget` beside others: about `wide`, so many that equal numbers of layers use it up.
  func wideRows(within budget: Double, at position: Int) -> Int {
    let steps = max(1, (rows(Self.wide, at: position) / budget).rounded(.up))
    let layersAStep = max(1, (Double(layers) / steps).rounded(.up))
    return rows(within: budget * Double(layers) / layersAStep, at: position)
  }

  /// How many layers `count` rows from `position` on may pass through within `budget`.
  func layers(within budget: Double, for count: Int, at position: Int) -> Int {
    let layers = budget * Double(self.layers) / rows(count, at: position)
    // The budget shrinks a little from step to step, as the contexts beside it grow.
    return Int(min(layers * 1.05, Double(self.layers)))
  }

  /// What prompts may cost beside `count` decoding rows, which cost `decoding` with their contexts:
  /// what makes steps of one length whatever the contexts, but half of a step.
  func ofPrompts(beside count: Int, costing decoding: Double) -> Double {
    max(Self.most * (fixed + Double(count)) - decoding, decoding)
  }
}
