import Foundation
import Testing
import VLLMSwiftCore

@testable import VLLMSwiftFiles

@Suite struct MappedFileTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func bytesAreTheFiles() throws {
    let content = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let map = try MappedFile(path: folder.write(content, to: "x"))
    #expect(Array(map.bytes) == content)
    map.release(map.bytes)
    map.release(UnsafeRawBufferPointer(rebasing: map.bytes[4095..<4097]))
    map.release(UnsafeRawBufferPointer(start: nil, count: 0))
    content.withUnsafeBytes { map.release($0) }
    #expect(Array(map.bytes) == content)
  }

  @Test func anEmptyFileIsNoModel() throws {
    let path = try folder.write([], to: "empty.gguf")
    expectError(.modelCorrupt, naming: "empty.gguf") { _ = try openCheckpoint(path) }
  }

  @Test func whatIsNoFileIsRefused() throws {
    expectError(.modelCorrupt, naming: folder.path) { _ = try MappedFile(path: folder.path) }
    expectError(.modelCorrupt, naming: "/dev/zero") { _ = try openCheckpoint("/dev/zero") }
    let pipe = folder.path + "/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    expectError(.modelCorrupt, naming: "pipe") { _ = try openCheckpoint(pipe) }
    let loop = folder.path + "/loop"
    #expect(symlink(loop, loop) == 0)
    expectError(.modelCorrupt, naming: "loop") { _ = try openCheckpoint(loop) }
    try folder.write([0], to: "file")
    expectError(.modelNotFound, naming: "file/x") {
      _ = try openCheckpoint(folder.path + "/file/x")
    }
  }

  @Test(.enabled(if: geteuid() != 0, "root reads everything"))
  func anUnreadableFileIsNamed() throws {
    let path = try folder.write([0], to: "secret.gguf")
    #expect(chmod(path, 0) == 0)
    expectError(.modelCorrupt, naming: "secret.gguf") { _ = try openCheckpoint(path) }
  }
}
