/// How long things took: how many of them, by buckets with fixed bounds.
public struct Histogram: Sendable {
  /// In microseconds: 1, 2 and 5 times each power of ten, from 100 us to 1,000 s. An inference that
  /// takes milliseconds and one that takes minutes are seen equally well.
  public static let bounds: [UInt64] = {
    let decades = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000] as [UInt64]
    return decades.flatMap { [$0, 2 * $0, 5 * $0] } + [1_000_000_000]
  }()

  public private(set) var count: UInt64 = 0
  public private(set) var microseconds: UInt64 = 0
  /// Of each bound, how many took longer than the bound before and no longer than it.
  private var buckets = [UInt64](repeating: 0, count: bounds.count)

  public init() {}

  /// O(1).
  public mutating func add(_ duration: Duration) {
    let taken = duration.microseconds
    count += 1
    microseconds += taken
    if let bucket = Self.bounds.firstIndex(where: { taken <= $0 }) { buckets[bucket] += 1 }
  }

  /// Of each bound, how many took no longer than it.
  public var atMost: [UInt64] {
    var sum: UInt64 = 0
    return buckets.map {
      sum += $0
      return sum
    }
  }
}

/// Of the requests of all models since the runtime's start.
public struct Latencies: Sendable {
  /// From submission to the first rows of the prompt.
  public var queue = Histogram()
  /// From submission to the first token.
  public var firstToken = Histogram()
  /// Between two tokens of one sequence.
  public var interToken = Histogram()
  /// From submission to the end, of requests that gave tokens and did not fail.
  public var request = Histogram()

  public init() {}
}

extension Duration {
  /// Rounded down; 0 for what is negative.
  public var microseconds: UInt64 {
    let (seconds, attoseconds) = components
    return UInt64(clamping: seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
  }
}
