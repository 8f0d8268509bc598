/// The blocks of the KV cache with the prefixes that they hold: sequences that begin alike share
/// blocks, also after their end, until the blocks are needed for something else.
public struct PrefixCache: Sendable {
  /// The longest known beginning of a sequence, in whole blocks.
  public struct Match: Sendable, Equatable {
    public fileprivate(set) var blocks: [Int32] = []
    /// Where it ends.
    public fileprivate(set) var end: PrefixIndex.Parent

    init(salt: [UInt8]) {
      end = .root(salt: salt)
    }
  }

  private var pool: BlockPool
  private var index = PrefixIndex()

  public init(capacity: Int) {
    pool = BlockPool(capacity: capacity)
  }

  public var capacity: Int { pool.capacity }
  public var available: Int { pool.available }
  public var inUse: Int { pool.inUse }
  /// Blocks that nobody holds, with a prefix.
  public var idle: Int { pool.idle }

  /// Finds blocks, and holds none of them. O(tokens).
  /// - Parameter limit: blocks at most.
  public func match(_ tokens: [Int32], salt: [UInt8], limit: Int) -> Match {
    var match = Match(salt: salt)
    for start in stride(from: 0, to: limit * kvBlockTokens, by: kvBlockTokens) {
      let end = start + kvBlockTokens
      guard end <= tokens.count, let node = index.find(tokens[start..<end], after: match.end)
      else { break }
      match.blocks.append(node.block)
      match.end = .node(node)
    }
    return match
  }

  /// How many of `blocks` nobody holds. O(blocks).
  public func idleCount(_ blocks: [Int32]) -> Int { blocks.count { pool.holders(of: $0) == 0 } }

  /// A block with one holder, or nil if all are held. O(1).
  public mutating func take() -> Int32? {
    guard let (block, wasIdle) = pool.take() else { return nil }
    if wasIdle { index.remove(block: block) }
    return block
  }

  /// `count` blocks, or nil, and none taken, if fewer are available. O(count).
  public mutating func take(_ count: Int) -> [Int32]? {
    guard count <= pool.available else { return nil }
    return (0..<count).compactMap { _ in take() }
  }

  /// Adds a holder to each block. O(blocks).
  public mutating func hold(_ blocks: some Collection<Int32>) {
    for block in blocks { pool.hold(block) }
  }

  /// Takes a holder from each block of a sequence, the last block first: what continues a prefix is
  /// given up before it. O(blocks).
  public mutating func letGo(_ blocks: [Int32]) {
    for block in blocks.reversed() {
      pool.letGo(block, keep: index.contains(block: block))
    }
  }

  /// Makes a full block known to those who come later. O(1).
  /// - Parameter tokens: what it holds, `kvBlockTokens` of them.
  /// - Returns: the prefix that ends with it; nil if what it comes after is known no more.
  public mutating func register(
    _ tokens: ArraySlice<Int32>, after parent: PrefixIndex.Parent, block: Int32
  ) -> PrefixIndex.Parent? {
    guard index.contains(parent) else { return nil }
    return .node(index.insert(tokens, after: parent, block: block))
  }

  /// Frees every block and forgets every prefix, as after a step that failed.
  public mutating func reset() {
    self = PrefixCache(capacity: capacity)
  }
}
