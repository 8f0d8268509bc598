/// The tokens of any bytes, by byte-pair encoding (Sennrich, Haddow and Birch, 2016,
/// arXiv:1508.07909): of adjacent tokens, those whose merge was learned first are merged first.
///
/// A tokenizer cuts a text into words before it merges, and learned its merges from words, so hardly
/// any merge reaches over a border between two. This does without the cutting.
public struct BytePairs: Sendable {
  /// Two adjacent tokens that become one.
  public struct Merge: Sendable {
    public let left: Int32
    public let right: Int32
    public let result: Int32

    public init(left: Int32, right: Int32, result: Int32) {
      (self.left, self.right, self.result) = (left, right, result)
    }
  }

  private struct Ranked {
    let rank: Int32
    let result: Int32
  }

  private var atoms: [[UInt8]: Int32] = [:]
  private var merges: [UInt64: Ranked] = [:]

  /// - Parameters:
  ///   - atoms: what a text is made of before any merge: the tokens of single bytes, or of characters
  ///     and then of the bytes of other characters. Of equal ones the first counts.
  ///   - merges: in the order in which they were learned.
  public init(atoms: [(bytes: [UInt8], token: Int32)], merges: [Merge]) {
    for atom in atoms where self.atoms[atom.bytes] == nil { self.atoms[atom.bytes] = atom.token }
    self.merges.reserveCapacity(merges.count)
    for (rank, merge) in merges.enumerated() {
      let key = Self.key(merge.left, merge.right)
      if self.merges[key] == nil {
        self.merges[key] = Ranked(rank: Int32(rank), result: merge.result)
      }
    }
  }

  /// Whether all printable characters of ASCII are tokens. Many vocabularies lack some bytes, which
  /// no output of theirs can have.
  public var isUsable: Bool { (UInt8(0x20)...0x7E).allSatisfy { atoms[[$0]] != nil } }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// O(n log n). A byte that is no token is left out.
  public func tokens(of bytes: [UInt8]) -> [Int32] {
    var tokens = pieces(of: bytes)
    // Tokens are a list: a merge takes its right one out.
    var (next, previous) = (Array(1..<tokens.count + 1), Array(-1..<tokens.count - 1))
    var queue = MergeQueue()
    func offer(_ left: Int, to queue: inout MergeQueue) {
      let right = next[left]
      guard right < tokens.count, let merge = merges[Self.key(tokens[left], tokens[right])] else {
        return
      }
      queue.insert(
        MergeQueue.Entry(
          rank: merge.rank, left: left, right: right, tokens: (tokens[left], tokens[right]),
          result: merge.result))
    }
    for left in tokens.indices { offer(left, to: &queue) }
    while let entry = queue.takeFirst() {
      // Else one of the two was merged meanwhile.
      guard tokens[entry.left] == entry.tokens.0, tokens[entry.right] == entry.tokens.1,
        next[entry.left] == entry.right
      else { continue }
      tokens[entry.left] = entry.result
      tokens[entry.right] = -1
      next[entry.left] = next[entry.right]
      if next[entry.left] < tokens.count { previous[next[entry.left]] = entry.left }
      offer(entry.left, to: &queue)
      if previous[entry.left] >= 0 { offer(previous[entry.left], to: &queue) }
    }
    return tokens.filter { $0 >= 0 }
  }

  private func pieces(of bytes: [UInt8]) -> [Int32] {
    var (pieces, index): ([Int32], Int) = ([], 0)
    pieces.reserveCapacity(bytes.count)
    while index < bytes.count {
      let length = min(Self.characterLength(bytes[index]), bytes.count - index)
      if length > 1, let token = atoms[Array(bytes[index..<index + length])] {
        pieces.append(token)
        index += length
      } else {
        if let token = atoms[[bytes[index]]] { pieces.append(token) }
        index += 1
      }
    }
    return pieces
  }

  /// Bytes of the UTF-8 character that begins with a byte.
  private static func characterLength(_ first: UInt8) -> Int {
    first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
  }
}

/// A binary heap of possible merges: the lowest rank first, of equals the leftmost.
private struct MergeQueue {
  struct Entry {
    let rank: Int32
    let left: Int
    let right: Int
    let tokens: (Int32, Int32)
    let result: Int32

    func precedes(_ other: Entry) -> Bool { (rank, left) < (other.rank, other.left) }
  }

  private var entries: [Entry] = []

  mutating func insert(_ entry: Entry) {
    entries.append(entry)
    var child = entries.count - 1
    while child > 0, entries[child].precedes(entries[(child - 1) / 2]) {
      entries.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  mutating func takeFirst() -> Entry? {
    guard let first = entries.first, let last = entries.popLast() else { return nil }
    guard !entries.isEmpty else { return first }
    entries[0] = last
    var parent = 0
    while true {
      let children = [2 * parent + 1, 2 * parent + 2].filter { $0 < entries.count }
      guard let least = children.min(by: { entries[$0].precedes(entries[$1]) }),
        entries[least].precedes(entries[parent])
      else { return first }
      entries.swapAt(parent, least)
      parent = least
    }
  }
}
