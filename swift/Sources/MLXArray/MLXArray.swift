import CMLX
import VLLMSwiftCore

/// An MLX array: one reference to a value that is computed when it is evaluated. Belongs to the
/// thread that owns MLX.
public final class MLXArray {
  /// The raw values are those of `cmlx.h`.
  public enum DType: Int32, Sendable {
    case uint8 = 0
    case uint32 = 1
    case int32 = 2
    case float16 = 3
    case bfloat16 = 4
    case float32 = 5
  }

  private let handle: cmlx_array

  /// Takes over the reference that `make` gives out.
  /// - Parameter make: a call of a C function with its last two arguments.
  /// - Throws: `backend`, with what MLX said.
  public init(
    _ make: (UnsafeMutablePointer<cmlx_array?>, UnsafeMutablePointer<cmlx_error>) -> Int32
  ) throws {
    var result: cmlx_array?
    try checkMLX { make(&result, $0) }
    guard let result else { throw EngineError(.internal, "an MLX call gave no array") }
    handle = result
  }

  deinit { cmlx_array_free(handle) }

  /// A copy of `bytes`, row major.
  public convenience init(bytes: UnsafeRawBufferPointer, shape: [Int], dtype: DType) throws {
    let dims = shape.map { Int32($0) }
    try self.init {
      cmlx_array_from(bytes.baseAddress, dims, Int32(dims.count), dtype.rawValue, $0, $1)
    }
  }

  public static func zeros(_ shape: [Int], dtype: DType, on stream: MLXStream) throws -> MLXArray {
    let dims = shape.map { Int32($0) }
    return try stream.withHandle { stream in
      try MLXArray { cmlx_zeros(stream, dims, Int32(dims.count), dtype.rawValue, $0, $1) }
    }
  }

  public func asType(_ dtype: DType, on stream: MLXStream) throws -> MLXArray {
    try stream.withHandle { stream in
      try withHandle { a in try MLXArray { cmlx_astype(stream, a, dtype.rawValue, $0, $1) } }
    }
  }

  /// The rows of `other` after this array's own.
  public func appending(_ other: MLXArray, on stream: MLXStream) throws -> MLXArray {
    try stream.withHandle { stream in
      try withHandle { a in
        try other.withHandle { b in try MLXArray { cmlx_append(stream, a, b, $0, $1) } }
      }
    }
  }

  /// The raw handle, for the length of `body`. Swift ends an object's life after its last use, which
  /// for `f(array.handle)` is before `f` runs; so this is the one way to it.
  public func withHandle<Result>(_ body: (cmlx_array) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(self) { try body(handle) }
  }

  public var shape: [Int] {
    withHandle { a in (0..<cmlx_array_rank(a)).map { Int(cmlx_array_dim(a, $0)) } }
  }

  public var byteCount: Int { withHandle { Int(cmlx_array_bytes($0)) } }

  /// Evaluates and copies the elements, row major, into `destination`.
  /// - Parameter destination: `byteCount` bytes.
  public func copy(to destination: UnsafeMutableRawBufferPointer, on stream: MLXStream) throws {
    try stream.withHandle { stream in
      try withHandle { a in
        try checkMLX {
          cmlx_array_copy(stream, a, destination.baseAddress, destination.count, $0)
        }
      }
    }
  }

  /// Evaluates and copies the elements, row major.
  public func elements<Element: BitwiseCopyable>(
    of type: Element.Type, on stream: MLXStream
  ) throws -> [Element] {
    let count = byteCount / MemoryLayout<Element>.stride
    return try [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
      try copy(to: UnsafeMutableRawBufferPointer(buffer), on: stream)
      initialized = count
    }
  }
}

extension MLXArray {
  /// Starts the evaluation of `arrays` and returns.
  public static func asyncEval(_ arrays: [MLXArray]) throws {
    try withHandles(arrays) { handles in
      try checkMLX { cmlx_async_eval(handles, Int32(handles.count), $0) }
    }
  }

  /// Evaluates `arrays` and waits. An error inside a kernel is thrown here.
  public static func eval(_ arrays: [MLXArray]) throws {
    try withHandles(arrays) { handles in
      try checkMLX { cmlx_eval(handles, Int32(handles.count), $0) }
    }
  }

  private static func withHandles<Result>(
    _ arrays: [MLXArray], _ body: ([cmlx_array?]) throws -> Result
  ) rethrows -> Result {
    try withExtendedLifetime(arrays) { try body(arrays.map(\.handle)) }
  }
}

/// Turns the status of a C call into `EngineError(.backend)`.
public func checkMLX(_ call: (UnsafeMutablePointer<cmlx_error>) -> Int32) throws {
  var error = cmlx_error()
  guard call(&error) != 0 else { return }
  let message = withUnsafeBytes(of: &error.message) { bytes in
    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
  }
  throw EngineError(.backend, message)
}
