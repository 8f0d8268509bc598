#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// CPU time of the calling thread: what its work costs, however long it waits for a core.
func threadTime() -> Duration {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}
