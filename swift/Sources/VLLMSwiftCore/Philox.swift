/// Philox4x32-10, a counter-based generator: Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
/// as easy as 1, 2, 3" (SC 2011, doi:10.1145/2063384.2063405). A draw depends on its seed and its
/// index alone, so a request's tokens do not depend on what else runs.
public enum Philox {
  /// The `index`th number of the stream `seed`, uniform in [0, 1), a multiple of 2^-24.
  public static func uniform(seed: UInt64, index: UInt64) -> Float {
    Float(block(key: seed, counter: index).0 >> 8) * 0x1p-24
  }

  static func block(key: UInt64, counter: UInt64) -> (UInt32, UInt32, UInt32, UInt32) {
    var (x0, x1) = (UInt32(truncatingIfNeeded: counter), UInt32(truncatingIfNeeded: counter >> 32))
    var (x2, x3) = (UInt32(0), UInt32(0))
    var (k0, k1) = (UInt32(truncatingIfNeeded: key), UInt32(truncatingIfNeeded: key >> 32))
    for _ in 0..<10 {
      let a = x0.multipliedFullWidth(by: 0xD251_1F53)
      let b = x2.multipliedFullWidth(by: 0xCD9E_8D57)
      (x0, x1, x2, x3) = (b.high ^ x1 ^ k0, b.low, a.high ^ x3 ^ k1, a.low)
      k0 &+= 0x9E37_79B9
      k1 &+= 0xBB67_AE85
    }
    return (x0, x1, x2, x3)
  }
}
