/// Finds the block that holds given tokens after a given prefix: a tree with a block's tokens on each
/// edge. Keys are compared token by token, so a collision of hashes never shares a wrong block; and a
/// node is never named again once it is gone, so nothing is found below a parent that was replaced.
///
/// Every method takes constant time (a block's tokens are hashed and compared once).
public struct PrefixIndex: Sendable {
  /// A prefix that a block of the cache ends.
  public struct Node: Hashable, Sendable {
    public let block: Int32
    fileprivate let version: UInt64
  }

  /// What a block comes after.
  public enum Parent: Hashable, Sendable {
    /// Nothing. What else the keys and values depend on (adapter, images) is in the salt, and
    /// prefixes of different salts are never the same.
    case root(salt: [UInt8])
    case node(Node)
  }

  private struct Key: Hashable {
    let parent: Parent
    let tokens: [Int32]
  }

  private var nodes: [Key: Node] = [:]
  private var keys: [Int32: Key] = [:]
  private var nextVersion: UInt64 = 0

  public init() {}

  /// How many blocks it knows.
  public var count: Int { keys.count }

  public func contains(block: Int32) -> Bool { keys[block] != nil }

  /// Whether a prefix can still be found.
  public func contains(_ parent: Parent) -> Bool {
    guard case .node(let node) = parent else { return true }
    return keys[node.block].flatMap { nodes[$0] } == node
  }

  /// - Parameter tokens: `kvBlockTokens` of them.
  public func find(_ tokens: ArraySlice<Int32>, after parent: Parent) -> Node? {
    nodes[Key(parent: parent, tokens: Array(tokens))]
  }

  /// Adds a block, unless another one holds the same.
  /// - Returns: the node that holds it from now on.
  public mutating func insert(
    _ tokens: ArraySlice<Int32>, after parent: Parent, block: Int32
  ) -> Node {
    let key = Key(parent: parent, tokens: Array(tokens))
    if let node = nodes[key] { return node }
    let node = Node(block: block, version: nextVersion)
    nextVersion += 1
    nodes[key] = node
    keys[block] = key
    return node
  }

  /// Forgets a block, if it is known.
  public mutating func remove(block: Int32) {
    if let key = keys.removeValue(forKey: block) { nodes[key] = nil }
  }
}
