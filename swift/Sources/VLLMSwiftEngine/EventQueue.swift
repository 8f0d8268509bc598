import VLLMSwiftCore

/// New tokens of a sequence, its end, or both.
public struct Event: Sendable, Equatable {
  public let sequence: SequenceID
  public internal(set) var tokens: [Int32]
  public internal(set) var finish: FinishReason?
  /// The token that ended it with `stop`, which is not among its tokens.
  public internal(set) var stopToken: Int32?
}

/// What the engine has to tell, oldest first. Events of one sequence that nobody has read yet become
/// one, so a reader that falls behind costs no more than its tokens.
final class EventQueue: Sendable {
  fileprivate struct State {
    var events: [Event] = []
    /// Where a sequence's unread event is, counted from the first event ever.
    var unread: [SequenceID: Int] = [:]
    var taken = 0
    var woken = false
    var closed = false
  }

  private let state = Monitor(State())

  func push(_ event: Event) {
    state.update { state in
      if let index = state.unread[event.sequence] {
        state.events[index - state.taken].tokens += event.tokens
        state.events[index - state.taken].finish = event.finish
        state.events[index - state.taken].stopToken = event.stopToken
      } else {
        state.unread[event.sequence] = state.taken + state.events.count
        state.events.append(event)
      }
    }
  }

  /// Drops what is unread of a sequence.
  func discard(_ sequence: SequenceID) {
    state.withLock { state in
      guard let index = state.unread.removeValue(forKey: sequence) else { return }
      state.events[index - state.taken].tokens = []
      state.events[index - state.taken].finish = nil
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
  /// - Throws: `closed` once the queue is closed and empty.
  func take(events: Int, tokens: Int, microseconds: Int64?) throws -> [Event] {
    let taken = try state.wait(microseconds: microseconds) { state -> [Event]? in
      let taken = state.take(events: events, tokens: tokens)
      if !taken.isEmpty { return taken }
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
  fileprivate mutating func take(events limit: Int, tokens room: Int) -> [Event] {
    var (result, room, count): ([Event], Int, Int) = ([], room, 0)
    while count < events.count, result.count < limit {
      let event = events[count]
      if event.tokens.count > room {
        if room > 0 {
          let tokens = Array(event.tokens.prefix(room))
          result.append(Event(sequence: event.sequence, tokens: tokens, finish: nil))
          events[count].tokens.removeFirst(room)
        }
        break
      }
      if !event.tokens.isEmpty || event.finish != nil { result.append(event) }
      unread[event.sequence] = nil
      room -= event.tokens.count
      count += 1
    }
    events.removeFirst(count)
    taken += count
    return result
  }
}
