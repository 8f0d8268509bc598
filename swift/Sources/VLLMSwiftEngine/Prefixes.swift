import VLLMSwiftCore

/// A prefix of a model that is kept in its cache.
public struct PinnedPrefix: Sendable {
  public let model: ModelID
  public let pin: PinID
  /// Whole blocks of them.
  public let tokens: [Int32]
  public let byteCount: Int
}

extension Runtime {
  /// Keeps the longest beginning of `tokens` that the model's cache holds.
  /// - Throws: `requestTooLarge` if that leaves too little for requests.
  public func pin(_ tokens: [Int32], of model: ModelID) throws -> PinnedPrefix {
    try summary(model).limits.check(sequence: tokens)
    return try visit(model) { try $0.pin(tokens) }
  }

  /// Keeps a prefix with the contents that `contents(of:)` gave, in this process or another.
  /// - Throws: `invalidArgument` unless there are as many bytes as the tokens' blocks have.
  public func adopt(_ tokens: [Int32], contents: [UInt8], into model: ModelID) throws
    -> PinnedPrefix
  {
    try summary(model).limits.check(sequence: tokens)
    return try visit(model) { try $0.adopt(tokens, contents: contents) }
  }

  /// - Throws: `closed` if the model was closed, or the cache lost in a failure.
  public func contents(of prefix: PinnedPrefix) throws -> [UInt8] {
    try visit(prefix.model) { try $0.contents(of: prefix) }
  }

  /// Returns at once.
  public func unpin(_ prefix: PinnedPrefix) {
    try? post(to: prefix.model) { $0?.scheduler.unpin(prefix.pin) }
  }
}

extension ModelRunner {
  /// - Returns: nil if the request fits beside what is pinned.
  func refusal(of request: Request) -> EngineError? {
    guard let (needed, left) = scheduler.shortage(for: request) else { return nil }
    return EngineError(
      .requestTooLarge,
      "the request takes \(needed * kvBlockTokens) tokens of KV cache, and the pinned prefixes leave "
        + "\(left * kvBlockTokens): let go of some, ask for fewer tokens, or raise memory_budget")
  }

  fileprivate func pin(_ tokens: [Int32]) throws -> PinnedPrefix {
    let (pin, blocks) = try scheduler.pin(tokens)
    return prefix(pin, tokens, blocks)
  }

  fileprivate func adopt(_ tokens: [Int32], contents: [UInt8]) throws -> PinnedPrefix {
    let size = model.executor.bytesPerBlock
    let count = tokens.count / kvBlockTokens
    guard tokens.count % kvBlockTokens == 0, contents.count == count * size else {
      throw EngineError(
        .invalidArgument,
        "a prefix of \(tokens.count) tokens with \(contents.count) bytes of contents: there must be "
          + "whole blocks of \(kvBlockTokens) tokens, with \(size) bytes each")
    }
    // Blocks that were given up may still be written by the step in flight.
    try stream.synchronize()
    let (pin, blocks) = try scheduler.adopt(tokens) { index, block in
      try model.executor.setContents(
        ofBlock: block, to: contents[index * size..<(index + 1) * size])
    }
    return prefix(pin, tokens, blocks)
  }

  fileprivate func contents(of prefix: PinnedPrefix) throws -> [UInt8] {
    guard let blocks = scheduler.blocks(of: prefix.pin) else {
      throw EngineError(.closed, "the prefix is gone: it was closed, or lost when a step failed")
    }
    try stream.synchronize()
    return try blocks.flatMap { try model.executor.contents(ofBlock: $0) }
  }

  private func prefix(_ pin: PinID, _ tokens: [Int32], _ blocks: [Int32]) -> PinnedPrefix {
    publish()
    return PinnedPrefix(
      model: id, pin: pin, tokens: Array(tokens.prefix(blocks.count * kvBlockTokens)),
      byteCount: blocks.count * model.executor.bytesPerBlock)
  }
}
