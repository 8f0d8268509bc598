import VLLMSwiftCore

/// What is known of a request from submission to release.
public struct RequestInfo: Sendable {
  public var promptTokens = 0
  /// Of the prompt, found in the prefix cache.
  public var cachedTokens = 0
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
    let outputs: Int
    let submitted: ContinuousClock.Instant
    var started: ContinuousClock.Instant?
    var firstToken: ContinuousClock.Instant?
    /// Of each sequence that has one.
    var lastTokens: [Int: ContinuousClock.Instant] = [:]
    /// Indices of the sequences that have not ended.
    var running: Set<Int>
    var info: RequestInfo

    var ended: Bool { running.isEmpty }

    mutating func note(
      _ outcome: Scheduler.Outcome, at now: ContinuousClock.Instant,
      _ latencies: inout Latencies<Histogram>
    ) {
      if let first = firstToken {
        info.decode = now - first
      } else {
        firstToken = now
        info.prefill = now - (started ?? now)
        latencies.firstToken.add(now - submitted)
      }
      if !outcome.tokens.isEmpty {
        info.outputTokens += outcome.tokens.count
        let last = lastTokens.updateValue(now, forKey: outcome.sequence.index)
        if let last { latencies.interToken.add(now - last) }
      }
      if outcome.finish != nil { end(outcome.sequence.index, at: now, &latencies) }
    }

    mutating func end(
      _ index: Int, at now: ContinuousClock.Instant, _ latencies: inout Latencies<Histogram>
    ) {
      guard running.remove(index) != nil, ended else { return }
      noteEnd(at: now, &latencies)
    }

    func noteEnd(at now: ContinuousClock.Instant, _ latencies: inout Latencies<Histogram>) {
      if firstToken != nil { latencies.request.add(now - submitted) }
    }
  }

  private struct State {
    var records: [RequestID: Record] = [:]
    var next: RequestID = 1
    var latencies = Latencies<Histogram>()
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
        state.records[request.id] = Record(
          model: model, outputs: request.n, submitted: now, running: Set(0..<request.n), info: info)
      }
    }
  }

  var latencies: Latencies<Histogram.Summary> {
    state.withLock { $0.latencies.map(\.summary) }
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
      for index in 0..<record.outputs { events.discard(SequenceID(request: id, index: index)) }
      // Its reader has had enough, as of one that found a stop string.
      if !record.ended { record.noteEnd(at: .now, &state.latencies) }
      return !record.ended
    }
  }

  /// Notes that a request's first rows are being computed.
  func started(_ start: Scheduler.Start) {
    state.withLock { state in
      guard let record = state.records[start.request], record.started == nil else { return }
      let now = ContinuousClock.now
      state.records[start.request]?.started = now
      state.records[start.request]?.info.queued = now - record.submitted
      state.latencies.queue.add(now - record.submitted)
      state.records[start.request]?.info.cachedTokens = start.cachedTokens
    }
  }

  /// Passes on what a step gave: logprobs of prompts' tokens, and what became of sequences. The
  /// reader has to be told (`EventQueue.announce`).
  /// - Parameter logprobs: of each of the step's samples.
  func deliver(
    _ outcomes: [Scheduler.Outcome], of samples: [Scheduler.Sample],
    logprobs: [ArraySlice<TokenLogprob>]
  ) {
    let now = ContinuousClock.now
    state.withLock { state in
      var new: [Event] = []
      for (sample, logprobs) in zip(samples, logprobs) where sample.known != nil {
        let sequence = sample.sequence
        guard state.records[sequence.request]?.running.contains(sequence.index) == true else {
          continue
        }
        new.append(
          Event(sequence: sequence, promptTokens: 1, promptLogprobs: Array(logprobs)))
      }
      for outcome in outcomes {
        let id = outcome.sequence.request
        if state.records[id]?.note(outcome, at: now, &state.latencies) != nil {
          new.append(Event(outcome, logprobs: logprobs[outcome.sample]))
        }
      }
      events.push(new)
    }
  }

  /// Ends one sequence of a request from outside the schedule.
  func cancelled(_ sequence: SequenceID) {
    state.withLock { state in
      guard state.records[sequence.request]?.running.contains(sequence.index) == true else {
        return
      }
      state.records[sequence.request]?.end(sequence.index, at: .now, &state.latencies)
      events.push([Event(sequence: sequence, finish: .cancelled)])
    }
    events.announce()
  }

  /// Ends a request's sequences from outside the schedule.
  func end(_ id: RequestID, _ reason: FinishReason, error: EngineError? = nil) {
    state.withLock { state in
      guard let record = state.records[id], !record.ended else { return }
      if error == nil { record.noteEnd(at: .now, &state.latencies) }
      state.records[id]?.running = []
      state.records[id]?.info.error = error
      events.push(
        record.running.sorted().map {
          Event(sequence: SequenceID(request: id, index: $0), finish: reason)
        })
    }
    events.announce()
  }

  /// Ends what is left of a model's requests.
  func endAll(of model: ModelID, error: EngineError) {
    let left = state.withLock { state in
      state.records.filter { $0.value.model == model && !$0.value.ended }.keys
    }
    for id in left { end(id, .error, error: error) }
  }
}
