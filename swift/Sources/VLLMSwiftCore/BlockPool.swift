/// Which blocks of the KV cache are in use, and by how many. Knows nothing of what is in them.
///
/// A block is free (it holds nothing), held by one or more sequences, or idle: held by none, but
/// with contents that a sequence may ask for again. Free blocks are handed out first, low ones
/// before high ones that may never have cost memory; then the idle one that was let go first.
/// Every method takes constant time.
public struct BlockPool: Sendable {
  public let capacity: Int
  private var holders: [Int32]
  /// Descending.
  private var free: [Int32]
  /// The idle blocks in the order of their release: a ring through `older` and `newer`, which meet
  /// in one more entry, at `capacity`.
  private var older: [Int32]
  private var newer: [Int32]
  public private(set) var idle = 0

  public init(capacity: Int) {
    let capacity = max(0, min(capacity, Int(Int32.max) - 1))
    self.capacity = capacity
    holders = [Int32](repeating: 0, count: capacity)
    free = (0..<Int32(capacity)).reversed()
    older = [Int32](repeating: Int32(capacity), count: capacity + 1)
    newer = older
  }

  /// Blocks that can be handed out.
  public var available: Int { free.count + idle }
  public var inUse: Int { capacity - available }

  /// Blocks that `tokens` tokens take.
  public static func blocks(for tokens: Int) -> Int {
    (tokens + kvBlockTokens - 1) / kvBlockTokens
  }

  /// How many hold a block.
  public func holders(of block: Int32) -> Int { Int(holders[Int(block)]) }

  /// A block with one holder, or nil if all are held.
  /// - Returns: also whether it was idle, and so whether its contents are lost now.
  public mutating func take() -> (block: Int32, wasIdle: Bool)? {
    if let block = free.popLast() {
      holders[Int(block)] = 1
      return (block, false)
    }
    guard idle > 0 else { return nil }
    let block = newer[capacity]
    hold(block)
    return (block, true)
  }

  /// Adds a holder to a block that is held or idle.
  public mutating func hold(_ block: Int32) {
    let index = Int(block)
    if holders[index] == 0 {
      newer[Int(older[index])] = newer[index]
      older[Int(newer[index])] = older[index]
      idle -= 1
    }
    holders[index] += 1
  }

  /// Takes a holder from a block.
  /// - Parameter keep: whether it is idle, and not free, once nobody holds it.
  public mutating func letGo(_ block: Int32, keep: Bool) {
    let index = Int(block)
    assert(holders[index] > 0, "block \(block) was let go more often than held")
    holders[index] -= 1
    guard holders[index] == 0 else { return }
    guard keep else {
      free.append(block)
      return
    }
    let newest = older[capacity]
    (older[index], newer[index]) = (newest, Int32(capacity))
    newer[Int(newest)] = block
    older[capacity] = block
    idle += 1
  }
}
