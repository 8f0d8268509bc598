/// How long things took: how many of them, by buckets with fixed bounds.
public struct Histogram: Sendable {
  /// In microseconds: 1, 2 and 5 times each power of ten, from 100 us to 1,000 s. An inference that
  /// takes milliseconds and one that takes minutes are seen equally well.
  public static let bounds: [UInt64] = {
    let decades = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000] as [UInt64]
    return decades.flatMap { [$0, 2 * $0, 5 * $0] } + [1_000_000_000]
  }()

  /// What is told of it.
  public struct Summary: Sendable {
    public let count: UInt64
    public let microseconds: UInt64
    /// Of each bound, how many took no longer than it.
    public let atMost: [UInt64]
  }

  private var count: UInt64 = 0
  private var microseconds: UInt64 = 0
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

  public var summary: Summary {
    var sum: UInt64 = 0
    let atMost = buckets.map {
      sum += $0
      return sum
    }
    return Summary(count: count, microseconds: microseconds, atMost: atMost)
  }
}

/// Of the requests of all models since the runtime's start.
public struct Latencies<Each: Sendable>: Sendable {
  /// From submission to the first rows of the prompt.
  public var queue: Each
  /// From submission to the first token.
  public var firstToken: Each
  /// Between two tokens of one sequence.
  public var interToken: Each
  /// From submission to the end, of requests that gave tokens and did not fail.
  public var request: Each

  func map<Other>(_ body: (Each) -> Other) -> Latencies<Other> {
    Latencies<Other>(
      queue: body(queue), firstToken: body(firstToken), interToken: body(interToken),
      request: body(request))
  }
}

extension Latencies<Histogram> {
  init() {
    self.init(
      queue: Histogram(), firstToken: Histogram(), interToken: Histogram(), request: Histogram())
  }
}

extension Duration {
  /// Rounded down; 0 for what is negative.
  public var microseconds: UInt64 {
    let (seconds, attoseconds) = components
    return UInt64(clamping: seconds * 1_000_000 + attoseconds / 1_000_000_000_000)
  }
}
