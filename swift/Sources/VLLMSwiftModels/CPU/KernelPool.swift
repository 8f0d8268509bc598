import CKernels

/// The threads that the CPU kernels of a process share.
public enum KernelPool {
  /// - Parameter threads: 0 is the machine's share, from affinity and cgroup quota. Without effect
  ///   once a step has run.
  public static func configure(threads: Int) {
    _ = ck_pool_configure(Int32(clamping: threads))
  }

  /// The calling thread hands out what the pool computes: it is to get a processor as soon as it
  /// wakes. Cheap after the first time.
  public static func handsOut() { ck_pool_hands_out() }
}
