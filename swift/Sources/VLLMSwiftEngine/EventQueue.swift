import VLLMSwiftCore

/// Logprobs of a prompt, new tokens of a sequence, its end, or several of these.
public struct Event: Sendable, Equatable {
  public let sequence: SequenceID
  /// Tokens of the prompt whose logprobs these are.
  public internal(set) var promptTokens = 0
  /// As many a token, and 0 where the request wants none; so are `logprobs`.
  public internal(set) var promptLogprobs: [TokenLogprob] = []
  public internal(set) var tokens: [Int32] = []
  public internal(set) var logprobs: [TokenLogprob] = []
  public internal(set) var finish: FinishReason?
  /// The token that ended it with `stop`, which is not among its tokens.
  public internal(set) var stopToken: Int32?

  fileprivate var isEmpty: Bool { self == Event(sequence: sequence) }

  init(
    sequence: SequenceID, promptTokens: Int = 0, promptLogprobs: [TokenLogprob] = [],
    tokens: [Int32] = [], logprobs: [TokenLogprob] = [], finish: FinishReason? = nil,
    stopToken: Int32? = nil
  ) {
    self.sequence = sequence
    (self.promptTokens, self.promptLogprobs) = (promptTokens, promptLogprobs)
    (self.tokens, self.logprobs) = (tokens, logprobs)
    (self.finish, self.stopToken) = (finish, stopToken)
  }

  /// - Parameter logprobs: of the outcome's one token, where its request asks for them.
  init(_ outcome: Scheduler.Outcome, logprobs: ArraySlice<TokenLogprob>) {
    self.init(
      sequence: outcome.sequence, tokens: outcome.tokens,
      logprobs: outcome.tokens.isEmpty ? [] : Array(logprobs), finish: outcome.finish,
      stopToken: outcome.stopToken)
  }

  mutating func append(_ later: Event) {
    promptTokens += later.promptTokens
    promptLogprobs += later.promptLogprobs
    tokens += later.tokens
    logprobs += later.logprobs
    (finish, stopToken) = (later.finish, later.stopToken)
  }
}

/// What a reader has room for. No token is given out without its logprobs.
public struct EventRoom: Sendable {
  public var events: Int
  public var tokens: Int
  public var logprobs: Int

  public init(events: Int, tokens: Int, logprobs: Int) {
    (self.events, self.tokens, self.logprobs) = (events, tokens, logprobs)
  }

  /// How many of `count` tokens fit, that have `logprobs` together.
  fileprivate func fits(_ count: Int, logprobs: Int) -> Int {
    logprobs == 0 ? count : min(count, self.logprobs / (logprobs / count))
  }
}

/// What the engine has to tell, oldest first. Events of one sequence that nobody has read yet become
/// one, so a reader that falls behind costs no more than its tokens.
final class EventQueue: Sendable {
  fileprivate struct State {
    var events: [Event] = []
    /// Where a sequence's unread event is, counted from the first event ever.
    var unread: [SequenceID: Int] = [:]
    var taken = 0
    var unannounced = false
    var woken = false
    var closed = false
  }

  private let state = Monitor(State())

  /// The reader is not woken before `announce`.
  func push(_ new: [Event]) {
    guard !new.isEmpty else { return }
    state.withLock { state in
      state.unannounced = true
      for event in new {
        if let index = state.unread[event.sequence] {
          state.events[index - state.taken].append(event)
        } else {
          state.unread[event.sequence] = state.taken + state.events.count
          state.events.append(event)
        }
      }
    }
  }

  /// Wakes the reader, once for all that was pushed. It may take the processor of the thread that
  /// calls, which does so when it is about to wait and holds no lock.
  func announce() {
    let unannounced = state.withLock { state in
      defer { state.unannounced = false }
      return state.unannounced
    }
    if unannounced { state.update { _ in } }
  }

  /// Drops what is unread of a sequence.
  func discard(_ sequence: SequenceID) {
    state.withLock { state in
      guard let index = state.unread.removeValue(forKey: sequence) else { return }
      state.events[index - state.taken] = Event(sequence: sequence)
    }
  }

  func wake() {
    state.update { $0.woken = true }
  }

  func close() {
    state.update { $0.closed = true }
  }

  /// Waits for events and takes those that fit; an event may be split between two calls.
  /// - Parameter microseconds: how long; nil is without end.
  /// - Returns: none when the time is over or `wake` was called.
  /// - Throws: `closed` once the queue is closed and empty; `invalidArgument`, and nothing is lost,
  ///   if there is no room for the logprobs of even one token.
  func take(_ room: EventRoom, microseconds: Int64?) throws -> [Event] {
    let taken = try state.wait(microseconds: microseconds) { state -> [Event]? in
      let taken = state.take(room)
      if !taken.isEmpty { return taken }
      if !state.events.isEmpty {
        throw EngineError(
          .invalidArgument,
          "room for \(room.logprobs) logprobs is less than one token has: give logprob_capacity "
            + "at least \(SamplingParams.maxLogprobs + 1)")
      }
      if state.closed {
        throw EngineError(.closed, "the runtime is closed")
      }
      guard state.woken else { return nil }
      state.woken = false
      return []
    }
    return taken ?? []
  }
}

extension EventQueue.State {
  fileprivate mutating func take(_ room: EventRoom) -> [Event] {
    var (result, room, count): ([Event], EventRoom, Int) = ([], room, 0)
    while count < events.count, result.count < room.events {
      let part = events[count].split(room)
      if !part.isEmpty { result.append(part) }
      guard events[count].isEmpty else { break }
      unread[part.sequence] = nil
      room.tokens -= part.tokens.count
      room.logprobs -= part.promptLogprobs.count + part.logprobs.count
      count += 1
    }
    events.removeFirst(count)
    taken += count
    return result
  }
}

extension Event {
  /// Takes off what fits; all of it leaves an event of nothing.
  fileprivate mutating func split(_ room: EventRoom) -> Event {
    let prompt = room.fits(promptTokens, logprobs: promptLogprobs.count)
    var (part, room) = (Event(sequence: sequence), room)
    part.promptTokens = prompt
    part.promptLogprobs = promptLogprobs.removingFirst(prompt, of: promptTokens)
    promptTokens -= prompt
    guard promptTokens == 0 else { return part }
    room.logprobs -= part.promptLogprobs.count

    let count = min(room.tokens, room.fits(tokens.count, logprobs: logprobs.count))
    part.logprobs = logprobs.removingFirst(count, of: tokens.count)
    part.tokens = tokens.removingFirst(count, of: tokens.count)
    guard tokens.isEmpty else { return part }
    (part.finish, part.stopToken) = (finish, stopToken)
    (finish, stopToken) = (nil, nil)
    return part
  }
}

extension Array {
  /// Takes off the elements of the first `count` of `whole` equal shares.
  fileprivate mutating func removingFirst(_ count: Int, of whole: Int) -> [Element] {
    guard count < whole else {
      defer { self = [] }
      return self
    }
    let share = self.count / whole * count
    defer { removeFirst(share) }
    return Array(prefix(share))
  }
}
