import Testing
import VLLMSwiftCore

@testable import VLLMSwiftEngine

@Suite struct EventQueueTests {
  private let queue = EventQueue()

  private func push(_ request: RequestID, _ tokens: [Int32], _ finish: FinishReason? = nil) {
    queue.push(Event(sequence: SequenceID(request: request), tokens: tokens, finish: finish))
  }

  private func take(events: Int = 10, tokens: Int = 100) throws -> [Event] {
    try queue.take(events: events, tokens: tokens, microseconds: 0)
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

  @Test func aDiscardedRequestIsNotHeardOf() throws {
    push(1, [1])
    push(2, [2], .stop)
    queue.discard(SequenceID(request: 2))
    push(3, [3])
    #expect(try take().map(\.sequence.request) == [1, 3])
  }

  @Test func aWakeEndsOneWaitAndNoMore() throws {
    queue.wake()
    #expect(try queue.take(events: 1, tokens: 1, microseconds: nil).isEmpty)
    push(1, [1])
    #expect(try queue.take(events: 1, tokens: 1, microseconds: nil).count == 1)
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
      try runtime.poll(events: 1, tokens: 1, microseconds: nil)
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
