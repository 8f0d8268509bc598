/// The tokens a block of KV cache holds.
public let kvBlockTokens = 32

/// What a forward pass runs over: rows, one a token, those of all its sequences one after another.
/// Only ops that mix a sequence's rows look at it.
public struct BatchLayout: Sendable, Equatable {
  /// A run of rows that continues one sequence.
  public struct Sequence: Sendable, Equatable {
    public var rows: Range<Int>
    /// The position in its sequence of the first of the rows.
    public var position: Int
    /// The block table: block `i` holds positions `i * kvBlockTokens ..< (i + 1) * kvBlockTokens`.
    public var blocks: [Int32]

    public init(rows: Range<Int>, position: Int, blocks: [Int32]) {
      self.rows = rows
      self.position = position
      self.blocks = blocks
    }
  }

  /// A row's token: known, or one that the step before is still sampling.
  public enum Token: Sendable, Equatable {
    case id(Int32)
    case sampled(Int)
  }

  /// A block that takes the contents of another one, in all layers.
  public struct Copy: Sendable, Equatable {
    public let from: Int32
    public let to: Int32
  }

  /// The last rows, where they pass through some of the model's layers alone.
  public struct Part: Sendable, Equatable {
    public let rows: Range<Int>
    /// From 0 on, or from where an earlier step left the same rows; these want logits once they come
    /// to the end.
    public let layers: Range<Int>
  }

  public private(set) var tokens: [Token] = []
  public private(set) var sequences: [Sequence] = []
  /// The rows whose logits are wanted, ascending.
  public private(set) var logitRows: [Int] = []
  /// Done in order, before any row is computed.
  public private(set) var copies: [Copy] = []
  public private(set) var part: Part?

  public init() {}

  /// Adds rows that continue a sequence at `position`.
  /// - Parameter logits: how many of them, from the last backwards, want logits.
  public mutating func append(
    _ tokens: some Collection<Token>, position: Int, blocks: [Int32], logits: Int
  ) {
    let rows = self.tokens.count..<self.tokens.count + tokens.count
    self.tokens += tokens
    sequences.append(Sequence(rows: rows, position: position, blocks: blocks))
    logitRows += rows.suffix(logits)
  }

  /// Lets the rows of the newest sequence pass through `layers` alone. Nothing can be added then.
  public mutating func pass(through layers: Range<Int>) {
    guard let rows = sequences.last?.rows else { return }
    part = Part(rows: rows, layers: layers)
  }

  public mutating func copy(from: Int32, to: Int32) {
    copies.append(Copy(from: from, to: to))
  }
}
