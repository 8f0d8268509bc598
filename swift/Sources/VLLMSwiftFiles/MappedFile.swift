import VLLMSwiftCore

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// A file mapped read-only into memory for as long as this object lives.
///
/// Pages come in when they are touched and can be given back with `release`, so a file that is read
/// once from front to back never has to be resident as a whole. A file that is cut short by someone
/// else while it is mapped raises SIGBUS on access, as it does for every program that maps files;
/// replacing it by renaming another over it, as downloaders do, is safe.
public final class MappedFile: @unchecked Sendable {
  public let path: String
  public let bytes: UnsafeRawBufferPointer

  /// - Throws: `modelNotFound` if there is nothing at `path`, `modelCorrupt` if what is there is not
  ///   a regular file that can be read.
  public init(path: String) throws {
    // O_NONBLOCK: opening a named pipe must not wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure(path, errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.failure(path, errno) }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw EngineError(.modelCorrupt, "\(path) is not a regular file")
    }
    self.path = path
    guard status.st_size > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    let size = Int(status.st_size)
    guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED
    else { throw Self.failure(path, errno) }
    bytes = UnsafeRawBufferPointer(start: base, count: size)
  }

  deinit {
    if let base = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
    }
  }

  /// Gives the pages that hold `part` back to the system, with the neighbours that came in beside
  /// them. Reading any of them again is correct, and costs a page fault. A `part` that does not lie in
  /// `bytes` is left alone.
  public func release(_ part: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, let start = part.baseAddress, start >= base,
      start + part.count <= base + bytes.count
    else { return }
    let page = Int(getpagesize())
    let offset = start - base
    let first = max(0, offset - Self.faultAround) / page * page
    let end = min(bytes.count, offset + part.count + Self.faultAround)
    madvise(UnsafeMutableRawPointer(mutating: base + first), end - first, MADV_DONTNEED)
  }

  /// What Linux maps around a fault, where the page cache has it. The first fault behind a part that
  /// was released brings back its end: of SmolLM2's 272 tensors that was a twentieth of the file.
  private static let faultAround = 64 << 10

  private static func failure(_ path: String, _ number: Int32) -> EngineError {
    if number == ENOENT || number == ENOTDIR {
      return EngineError(.modelNotFound, "there is no file \(path)")
    }
    return EngineError(
      .modelCorrupt, "\(path) cannot be read: \(String(cString: strerror(number)))")
  }
}
