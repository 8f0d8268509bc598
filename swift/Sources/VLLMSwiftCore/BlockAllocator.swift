/// Which blocks of the KV cache are in use. Knows nothing of what is in them.
public struct BlockAllocator: Sendable {
  public let capacity: Int
  /// Descending, so that low blocks are taken first and high ones may never cost memory.
  private var free: [Int32]

  public init(capacity: Int) {
    self.capacity = capacity
    free = (0..<Int32(clamping: capacity)).reversed()
  }

  public var available: Int { free.count }

  /// Blocks that `tokens` tokens take.
  public static func blocks(for tokens: Int) -> Int {
    (tokens + kvBlockTokens - 1) / kvBlockTokens
  }

  /// `count` blocks, or nil, and none taken, if fewer are free. O(count).
  public mutating func allocate(_ count: Int) -> [Int32]? {
    guard count <= free.count else { return nil }
    let taken = Array(free.suffix(count).reversed())
    free.removeLast(count)
    return taken
  }

  public mutating func release(_ blocks: [Int32]) {
    free += blocks.reversed()
  }
}
