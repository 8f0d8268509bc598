import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftEngine

@Suite struct EventQueueTests {
  private let queue = EventQueue()
  private let first = SequenceID(request: 1)
  private let second = SequenceID(request: 2)
  private let one = EventRoom(events: 1, tokens: 1, logprobs: 0)

  private func push(_ request: RequestID, _ tokens: [Int32], _ finish: FinishReason? = nil) {
    queue.push([Event(sequence: SequenceID(request: request), tokens: tokens, finish: finish)])
  }

  private func take(events: Int = 10, tokens: Int = 100, logprobs: Int = 0) throws -> [Event] {
    try queue.take(
      EventRoom(events: events, tokens: tokens, logprobs: logprobs), microseconds: 0)
  }

  @Test func whatNobodyReadYetBecomesOneEvent() throws {
    push(1, [10])
    push(2, [20])
    push(1, [11], .stop)
    #expect(
      try take() == [
        Event(sequence: SequenceID(request: 1), tokens: [10, 11], finish: .stop),
        Event(sequence: SequenceID(request: 2), tokens: [20], finish: nil),
      ])
    #expect(try take().isEmpty)
  }

  @Test func anEventThatDoesNotFitIsSplitAndItsEndComesLast() throws {
    push(1, [1, 2, 3, 4, 5], .length)
    push(2, [6], .stop)
    var tokens: [Int32] = []
    var ends: [FinishReason] = []
    for _ in 0..<10 {
      for event in try take(tokens: 2) {
        tokens += event.tokens
        if let finish = event.finish { ends.append(finish) }
      }
    }
    #expect(tokens == [1, 2, 3, 4, 5, 6])
    #expect(ends == [.length, .stop])
  }

  @Test func aTakeHasNoMoreEventsThanItsRoom() throws {
    for request in 1...5 as ClosedRange<RequestID> { push(request, [Int32(request)]) }
    #expect(try take(events: 2).map(\.sequence.request) == [1, 2])
    push(3, [33])
    #expect(try take(events: 2).map(\.tokens) == [[3, 33], [4]])
    #expect(try take().map(\.sequence.request) == [5])
  }

  /// One thread pushes while another waits without end, and none is polled.
  @Test func aReaderThatWaitsIsWokenWhenEventsAreAnnounced() throws {
    let queue = self.queue
    for token in 0..<200 as Range<Int32> {
      let writer = Thread {
        queue.push([Event(sequence: SequenceID(request: 1), tokens: [token])])
        queue.announce()
      }
      writer.start()
      let room = EventRoom(events: 4, tokens: 4, logprobs: 0)
      #expect(try queue.take(room, microseconds: nil).map(\.tokens) == [[token]])
    }
  }

  private func logprobs(_ tokens: [Int32], each: Int) -> [TokenLogprob] {
    tokens.flatMap { token in
      (0..<each).map { TokenLogprob(token: token, logprob: -Float($0), rank: Int32($0)) }
    }
  }

  @Test(arguments: [3, 4, 5, 8, 100])
  func aTokenIsNeverSplitFromItsLogprobs(_ room: Int) throws {
    for token in 0..<5 as Range<Int32> {
      queue.push([
        Event(sequence: first, promptTokens: 1, promptLogprobs: logprobs([token], each: 2))
      ])
    }
    for token in 5..<12 as Range<Int32> {
      queue.push([
        Event(
          sequence: first, tokens: [token], logprobs: logprobs([token], each: 3),
          finish: token == 11 ? .length : nil),
        Event(sequence: second, tokens: [token]),
      ])
    }
    var (prompt, tokens, values): ([TokenLogprob], [Int32], [TokenLogprob]) = ([], [], [])
    var (beside, end): ([Int32], FinishReason?) = ([], nil)
    while end == nil || beside.count < 7 {
      let events = try take(tokens: 4, logprobs: room)
      #expect(!events.isEmpty)
      #expect(events.map { $0.promptLogprobs.count + $0.logprobs.count }.reduce(0, +) <= room)
      for event in events where event.sequence == first {
        #expect(end == nil)
        #expect(event.promptLogprobs.count == 2 * event.promptTokens)
        #expect(event.logprobs.count == 3 * event.tokens.count)
        #expect(event.promptTokens == 0 || tokens.isEmpty)
        (prompt, values) = (prompt + event.promptLogprobs, values + event.logprobs)
        (tokens, end) = (tokens + event.tokens, event.finish)
      }
      beside += events.filter { $0.sequence == second }.flatMap(\.tokens)
    }
    #expect(prompt == logprobs([0, 1, 2, 3, 4], each: 2))
    #expect(tokens == [5, 6, 7, 8, 9, 10, 11] && values == logprobs(tokens, each: 3))
    #expect(beside == tokens && end == .length)
  }

  @Test func aReaderWithoutRoomForATokensLogprobsIsTold() throws {
    push(2, [7])
    queue.push([Event(sequence: first, tokens: [1], logprobs: logprobs([1], each: 3))])
    #expect(try take(logprobs: 2).map(\.sequence) == [second])
    let error = #expect(throws: EngineError.self) { try take(logprobs: 2) }
    #expect(error?.code == .invalidArgument)
    #expect(try take(logprobs: 3).map(\.tokens) == [[1]])
  }

  @Test func aDiscardedRequestIsNotHeardOf() throws {
    push(1, [1])
    push(2, [2], .stop)
    queue.discard(SequenceID(request: 2))
    push(3, [3])
    #expect(try take().map(\.sequence.request) == [1, 3])
  }

  @Test func aWakeEndsOneWaitAndNoMore() throws {
    queue.wake()
    #expect(try queue.take(one, microseconds: nil).isEmpty)
    push(1, [1])
    #expect(try queue.take(one, microseconds: nil).count == 1)
  }

  @Test func aClosedQueueGivesWhatIsLeftAndThenSaysSo() throws {
    push(1, [1], .stop)
    queue.close()
    #expect(try take().count == 1)
    #expect(throws: EngineError.self) { try take() }
  }
}

@Suite struct RuntimeTests {
  @Test func aRuntimeClosesTwiceAndRefusesFromThenOn() throws {
    let runtime = try Runtime(threads: 1)
    #expect(try runtime.stats().models == 0)
    runtime.close()
    runtime.close()
    let error = #expect(throws: EngineError.self) {
      try runtime.poll(EventRoom(events: 1, tokens: 1, logprobs: 0), microseconds: nil)
    }
    #expect(error?.code == .closed)
  }

  @Test func callsOnModelsAndRequestsThatAreNotThereSaySo() throws {
    let runtime = try Runtime(threads: 1)
    defer { runtime.close() }
    #expect(throws: EngineError.self) { try runtime.summary(7) }
    #expect(throws: EngineError.self) { try runtime.info(7) }
    runtime.cancel(7)
    runtime.release(7)
    runtime.unload(7)
  }
}
