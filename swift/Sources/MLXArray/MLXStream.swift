import CMLX
import VLLMSwiftCore

/// A queue of MLX work on one device, with results in the order of issue. Belongs to the thread that
/// made it, and must be freed there.
public final class MLXStream {
  public let isGPU: Bool
  private let handle: cmlx_stream

  public init(gpu: Bool) throws {
    var result: cmlx_stream?
    try checkMLX { cmlx_stream_create(gpu ? 1 : 0, &result, $0) }
    guard let result else { throw EngineError(.internal, "MLX gave no stream") }
    isGPU = gpu
    handle = result
  }

  deinit { cmlx_stream_free(handle) }

  /// See `MLXArray.withHandle`.
  public func withHandle<Result>(_ body: (cmlx_stream) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(self) { try body(handle) }
  }

  /// Waits until everything issued on the stream is done.
  public func synchronize() throws {
    try withHandle { stream in try checkMLX { cmlx_stream_synchronize(stream, $0) } }
  }
}

/// What MLX says of itself.
public enum MLX {
  public static var isGPUAvailable: Bool { cmlx_gpu_available() != 0 }
  /// Bytes of the GPU's memory; 0 without a GPU.
  public static var gpuMemory: Int { Int(clamping: cmlx_gpu_memory()) }
  /// Bytes in arrays, of the whole process.
  public static var activeBytes: Int { Int(cmlx_active_bytes()) }

  /// "major.minor.patch" of the headers this was built against, and of the library in the process.
  public static var versionBuilt: UnsafePointer<CChar> { cmlx_version_built() }
  public static var versionLoaded: UnsafePointer<CChar> { cmlx_version_loaded() }

  /// Ends MLX's threads behind the streams that the calling thread made; they must be freed by then.
  public static func clearStreams() { cmlx_streams_clear() }
}
