#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A thread of the system.
public struct SystemThread: @unchecked Sendable {
  private let handle: pthread_t

  /// - Parameter stackBytes: memory is taken as it is used; nil is the system's own choice.
  /// - Throws: `backend` if the system starts no more.
  public init(stackBytes: Int? = nil, _ body: @escaping @Sendable () -> Void) throws {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    if let stackBytes { pthread_attr_setstacksize(&attributes, stackBytes) }
    let start = Unmanaged.passRetained(ThreadStart(body))
    #if canImport(Darwin)
      var thread: pthread_t?
      let status = pthread_create(&thread, &attributes, runThread, start.toOpaque())
      let made = thread
    #else
      var thread = pthread_t()
      let status = pthread_create(&thread, &attributes, { runThread($0!) }, start.toOpaque())
      let made: pthread_t? = thread
    #endif
    guard status == 0, let made else {
      start.release()
      throw EngineError(.backend, "the system starts no more threads: error \(status)")
    }
    handle = made
  }

  /// Waits for its end; once.
  public func join() { pthread_join(handle, nil) }
}

private final class ThreadStart {
  let body: () -> Void
  init(_ body: @escaping () -> Void) { self.body = body }
}

private func runThread(_ context: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
  Unmanaged<ThreadStart>.fromOpaque(context).takeRetainedValue().body()
  return nil
}
