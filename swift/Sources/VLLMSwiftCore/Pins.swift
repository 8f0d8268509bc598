public typealias PinID = UInt64

/// Prefixes that are kept until somebody lets them go.
///
/// However much is pinned, each sequence that waits or runs fits into the cache beside it: a pin that
/// would not leave that much is refused, and so is a request that would not fit any more.
extension Scheduler {
  /// Keeps the longest beginning of `tokens` that the cache holds, in whole blocks. O(tokens).
  /// - Throws: `requestTooLarge`
  /// - Returns: also the blocks, in order.
  public func pin(_ tokens: [Int32], salt: [UInt8] = []) throws -> (PinID, [Int32]) {
    let match = cache.match(tokens, salt: salt, limit: tokens.count / kvBlockTokens)
    return (try keep(match.blocks), match.blocks)
  }

  /// Keeps a prefix whose contents come from elsewhere, and makes it known. O(tokens).
  /// - Parameters:
  ///   - tokens: whole blocks of them.
  ///   - write: puts the contents of the prefix's `index`th block into a block of the cache; called
  ///     for those that the cache does not hold yet.
  /// - Throws: `requestTooLarge`, and what `write` throws.
  public func adopt(
    _ tokens: [Int32], salt: [UInt8] = [], write: (_ index: Int, _ block: Int32) throws -> Void
  ) throws -> (PinID, [Int32]) {
    let count = tokens.count / kvBlockTokens
    let match = cache.match(tokens, salt: salt, limit: count)
    cache.hold(match.blocks)
    guard let new = cache.take(count - match.blocks.count) else {
      cache.letGo(match.blocks)
      throw EngineError(
        .requestTooLarge,
        "the prefix takes \(count) blocks of the KV cache, and \(cache.available) are free now")
    }
    defer { cache.letGo(match.blocks + new) }
    var end = match.end
    for (index, block) in zip(match.blocks.count..., new) {
      try write(index, block)
      let tokens = tokens[index * kvBlockTokens..<(index + 1) * kvBlockTokens]
      end = cache.register(tokens, after: end, block: block) ?? end
    }
    return (try keep(match.blocks + new), match.blocks + new)
  }

  /// Does nothing for a pin that is gone. O(blocks).
  public func unpin(_ id: PinID) {
    if let blocks = pins.removeValue(forKey: id) { cache.letGo(blocks) }
  }

  /// The blocks of a pin, nil if it is gone.
  public func blocks(of id: PinID) -> [Int32]? { pins[id] }

  /// Why a request could not run even if it were alone with what is pinned: the blocks that it needs
  /// besides those it shares, and how many are not pinned. Nil if it could. O(tokens + pinned).
  public func shortage(for request: Request) -> (needed: Int, left: Int)? {
    shortage(for: request, beside: pinned(by: Array(pins.values)))
  }

  private func keep(_ blocks: [Int32]) throws -> PinID {
    let all = pinned(by: Array(pins.values) + [blocks])
    let fit = (waiting + running).allSatisfy { shortage(for: $0.request, beside: all) == nil }
    guard fit, all.count < cache.capacity else {
      throw EngineError(
        .requestTooLarge,
        "pinned prefixes would take \(all.count) of the KV cache's \(cache.capacity) blocks, which "
          + "leaves too few for requests: let go of some, or raise memory_budget")
    }
    cache.hold(blocks)
    lastPin += 1
    pins[lastPin] = blocks
    return lastPin
  }

  private func pinned(by pins: [[Int32]]) -> Set<Int32> { Set(pins.joined()) }

  private func shortage(
    for request: Request, beside pinned: Set<Int32>
  ) -> (needed: Int, left: Int)? {
    guard !pinned.isEmpty else { return nil }
    let (prompt, sampling) = (request.prompt, request.sampling)
    // A scored prompt is computed in blocks of its own.
    let most = sampling.promptLogprobs == nil ? (prompt.count - 1) / kvBlockTokens : 0
    let match = cache.match(prompt, salt: request.salt, limit: most)
    let shared = match.blocks.prefix { pinned.contains($0) }.count
    let needed = BlockPool.blocks(for: prompt.count + sampling.maxTokens) - shared
    let left = cache.capacity - pinned.count
    return needed <= left ? nil : (needed, left)
  }
}
