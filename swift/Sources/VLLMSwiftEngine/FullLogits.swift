import MLXArray
import VLLMSwiftCore
import VLLMSwiftModels

/// Logits of every position of a sequence, into memory of the caller's, who waits for the reply.
struct LogitsRequest: @unchecked Sendable {
  let tokens: [Int32]
  /// [tokens, vocabulary]
  let destination: UnsafeMutableBufferPointer<Float>
}

extension ModelRunner {
  /// Computes some more of a request's logits, in blocks of its own: so many rows as requests can
  /// wait for. One request at a time.
  /// - Parameter start: how many rows are done.
  /// - Returns: how many are done then.
  /// - Throws: `requestTooLarge` if its blocks are not free.
  func logits(_ request: LogitsRequest, from start: Int) throws -> Int {
    let count = request.tokens.count
    if start == 0, !scheduler.borrowBlocks(BlockPool.blocks(for: count)) {
      throw EngineError(
        .requestTooLarge, "\(count) tokens of KV cache are not free beside the running requests")
    }
    let end = min(count, start + scheduler.rowsBesideRequests(at: start))
    do {
      try compute(request, start..<end)
    } catch {
      scheduler.returnBorrowed()
      throw error
    }
    if end == count { scheduler.returnBorrowed() }
    return end
  }

  private func compute(_ request: LogitsRequest, _ rows: Range<Int>) throws {
    guard let blocks = scheduler.borrowed else {
      throw EngineError(.closed, "the KV cache was lost when a step of other requests failed")
    }
    var layout = BatchLayout()
    layout.append(
      request.tokens[rows].map { .id($0) }, position: rows.lowerBound, blocks: blocks,
      logits: rows.count)
    let logits = try model.executor.logits(layout, after: nil)
    let width = model.limits.vocabularySize
    let part = request.destination[rows.lowerBound * width..<rows.upperBound * width]
    try logits.copy(
      to: UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(rebasing: part)), on: stream)
  }
}
