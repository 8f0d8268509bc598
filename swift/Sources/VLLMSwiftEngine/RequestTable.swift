import VLLMSwiftCore

/// What is known of a request from submission to release.
public struct RequestInfo: Sendable {
  public var promptTokens = 0
  public var outputTokens = 0
  public var queued: Duration = .zero
  public var prefill: Duration = .zero
  public var decode: Duration = .zero
  public var error: EngineError?
}

/// All requests that are not released, and the way their events take to the reader.
final class RequestTable: Sendable {
  private struct Record {
    let model: ModelID
    let submitted: ContinuousClock.Instant
    var started: ContinuousClock.Instant?
    var firstToken: ContinuousClock.Instant?
    var ended = false
    var info: RequestInfo
  }

  private struct State {
    var records: [RequestID: Record] = [:]
    var next: RequestID = 1
  }

  private let state = Monitor(State())
  let events = EventQueue()

  /// Names for `count` requests; none is ever used again.
  func names(_ count: Int) -> Range<RequestID> {
    state.withLock { state in
      let first = state.next
      state.next += RequestID(count)
      return first..<state.next
    }
  }

  func add(_ requests: [Request], model: ModelID) {
    let now = ContinuousClock.now
    state.withLock { state in
      for request in requests {
        var info = RequestInfo()
        info.promptTokens = request.prompt.count
        state.records[request.id] = Record(model: model, submitted: now, info: info)
      }
    }
  }

  func info(_ id: RequestID) throws -> RequestInfo {
    try state.withLock { state in
      guard let record = state.records[id] else {
        throw EngineError(.invalidHandle, "there is no request \(id), or it was released")
      }
      return record.info
    }
  }

  /// Forgets a request; none of its events is delivered from here on.
  /// - Returns: whether it was still running.
  func release(_ id: RequestID) -> Bool {
    state.withLock { state in
      guard let record = state.records.removeValue(forKey: id) else { return false }
      events.discard(id)
      return !record.ended
    }
  }

  /// Notes that a request's first rows are being computed.
  func started(_ id: RequestID) {
    state.withLock { state in
      guard let record = state.records[id], record.started == nil else { return }
      let now = ContinuousClock.now
      state.records[id]?.started = now
      state.records[id]?.info.queued = now - record.submitted
    }
  }

  /// - Parameter logprobs: of one token of the prompt.
  func deliver(promptLogprobs logprobs: ArraySlice<TokenLogprob>, of id: RequestID) {
    state.withLock { state in
      guard let record = state.records[id], !record.ended else { return }
      events.push(Event(request: id, promptTokens: 1, promptLogprobs: Array(logprobs)))
    }
  }

  /// - Parameter logprobs: of the outcome's token.
  func deliver(_ outcome: Scheduler.Outcome, logprobs: ArraySlice<TokenLogprob>) {
    let now = ContinuousClock.now
    state.withLock { state in
      guard var record = state.records[outcome.request] else { return }
      if let first = record.firstToken {
        record.info.decode = now - first
      } else {
        record.firstToken = now
        record.info.prefill = now - (record.started ?? now)
      }
      record.info.outputTokens += outcome.token == nil ? 0 : 1
      record.ended = outcome.finish != nil
      state.records[outcome.request] = record
      events.push(
        Event(
          request: outcome.request, tokens: outcome.token.map { [$0] } ?? [],
          logprobs: outcome.token == nil ? [] : Array(logprobs), finish: outcome.finish,
          stopToken: outcome.stopToken))
    }
  }

  /// Ends a request from outside the schedule.
  func end(_ id: RequestID, _ reason: FinishReason, error: EngineError? = nil) {
    state.withLock { state in
      guard let record = state.records[id], !record.ended else { return }
      state.records[id]?.ended = true
      state.records[id]?.info.error = error
      events.push(Event(request: id, finish: reason))
    }
  }

  /// Ends what is left of a model's requests.
  func endAll(of model: ModelID, error: EngineError) {
    let left = state.withLock { state in
      state.records.filter { $0.value.model == model && !$0.value.ended }.keys
    }
    for id in left { end(id, .error, error: error) }
  }
}
