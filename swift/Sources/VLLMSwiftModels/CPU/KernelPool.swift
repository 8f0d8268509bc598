import CKernels

/// The threads that the CPU kernels of a process share.
public enum KernelPool {
  /// - Parameter threads: 0 is the machine's share, from affinity and cgroup quota. Without effect
  ///   once a step has run.
  public static func configure(threads: Int) {
    _ = ck_pool_configure(Int32(clamping: threads))
  }
}
