extension Scheduler {
  /// What it has done and is doing.
  public struct Counts: Sendable {
    /// Sequences.
    public internal(set) var running = 0
    public internal(set) var waiting = 0
    public internal(set) var preemptions = 0
    /// Tokens of prompts that were looked up in the cache, and found.
    public internal(set) var prefixQueries = 0
    public internal(set) var prefixHits = 0
    public internal(set) var blocks = 0
    public internal(set) var blocksUsed = 0
    /// Blocks that nobody uses, with a prefix that may be asked for again.
    public internal(set) var blocksCached = 0

    public init() {}

    public static func + (a: Counts, b: Counts) -> Counts {
      var sum = a
      sum.running += b.running
      sum.waiting += b.waiting
      sum.preemptions += b.preemptions
      sum.prefixQueries += b.prefixQueries
      sum.prefixHits += b.prefixHits
      sum.blocks += b.blocks
      sum.blocksUsed += b.blocksUsed
      sum.blocksCached += b.blocksCached
      return sum
    }

    /// Without what is only true while the scheduler lives.
    public var past: Counts {
      var past = Counts()
      past.preemptions = preemptions
      past.prefixQueries = prefixQueries
      past.prefixHits = prefixHits
      return past
    }
  }
}
