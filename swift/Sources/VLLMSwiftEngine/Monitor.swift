#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A value that threads share under one lock, and may wait on. POSIX, because `Mutex` asks for macOS
/// 15.
public final class Monitor<State>: @unchecked Sendable {
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var state: State

  public init(_ state: State) {
    self.state = state
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(changed, nil)
  }

  deinit {
    pthread_cond_destroy(changed)
    pthread_mutex_destroy(mutex)
    changed.deallocate()
    mutex.deallocate()
  }

  public func withLock<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&state)
  }

  /// As `withLock`, and wakes those who wait.
  public func update<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
    // Not under the lock: a waiter that runs at once, on this thread's processor, would sleep again
    // for the lock, and this thread might not run before the scheduler's next tick.
    defer { pthread_cond_broadcast(changed) }
    return try withLock(body)
  }

  /// Waits until `body` gives a value, trying again after each update.
  /// - Parameter microseconds: at most so long; nil is without end.
  /// - Returns: nil when the time is over.
  public func wait<Result>(
    microseconds: Int64? = nil, _ body: (inout State) throws -> Result?
  ) rethrows -> Result? {
    let deadline = microseconds.map(Self.deadline)
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let result = try body(&state) { return result }
      if var deadline {
        if pthread_cond_timedwait(changed, mutex, &deadline) != 0 { return try body(&state) }
      } else {
        pthread_cond_wait(changed, mutex)
      }
    }
  }

  private static func deadline(in microseconds: Int64) -> timespec {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    let nanoseconds = now.tv_nsec + Int(microseconds % 1_000_000) * 1000
    return timespec(
      tv_sec: now.tv_sec + Int(microseconds / 1_000_000) + nanoseconds / 1_000_000_000,
      tv_nsec: nanoseconds % 1_000_000_000)
  }
}
