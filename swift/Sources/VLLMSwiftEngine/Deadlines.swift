import VLLMSwiftCore

/// When requests have to have ended. Costs nothing while none is due.
struct Deadlines {
  private var instants: [RequestID: ContinuousClock.Instant] = [:]
  /// None is due before; may be of one that is gone.
  private var earliest: ContinuousClock.Instant?

  mutating func add(_ request: RequestID, _ instant: ContinuousClock.Instant) {
    instants[request] = instant
    earliest = min(earliest ?? instant, instant)
  }

  mutating func remove(_ request: RequestID) {
    if instants.removeValue(forKey: request) != nil, instants.isEmpty { earliest = nil }
  }

  /// Takes out the requests whose time is over. O(requests with a deadline) if there may be any.
  mutating func takeDue() -> [RequestID] {
    guard let earliest else { return [] }
    let now = ContinuousClock.now
    guard earliest <= now else { return [] }
    let due = instants.filter { $0.value <= now }.keys.sorted()
    for request in due { instants[request] = nil }
    self.earliest = instants.values.min()
    return due
  }
}
