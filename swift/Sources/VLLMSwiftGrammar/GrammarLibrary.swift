import CLLGuidance
import VLLMSwiftCore

/// llguidance's library, open for as long as the process lives.
struct GrammarLibrary: @unchecked Sendable {
  let functions: llg_functions

  /// - Throws: `grammarLibrary`, naming what to install.
  init(path: String) throws {
    let opened = UnsafeMutablePointer<llg_functions>.allocate(capacity: 1)
    defer { opened.deallocate() }
    let (status, why) = withMessage { llg_open(path, opened, $0, $1) }
    guard status == 0 else {
      throw Self.unusable("\(path) does not open: \(why)")
    }
    functions = opened.pointee
    let version = String(cString: functions.get_version())
    guard version.hasPrefix(LLG_PINNED_VERSION) else {
      throw Self.unusable("\(path) is \(version)")
    }
  }

  private static func unusable(_ why: String) -> EngineError {
    let version = LLG_PINNED_VERSION.dropFirst("llguidance@".count).dropLast()
    return EngineError(
      .grammarLibrary,
      "grammars need llguidance \(version), and \(why): pip install llguidance==\(version)")
  }
}

/// Calls a C function that leaves a sentence in a buffer.
func withMessage<Result>(
  _ body: (UnsafeMutablePointer<CChar>, Int) -> Result
) -> (Result, String) {
  var buffer = [CChar](repeating: 0, count: 512)
  return buffer.withUnsafeMutableBufferPointer { buffer in
    // An array with elements has an address.
    let start = buffer.baseAddress.unsafelyUnwrapped
    let result = body(start, buffer.count)
    return (result, String(cString: start))
  }
}
