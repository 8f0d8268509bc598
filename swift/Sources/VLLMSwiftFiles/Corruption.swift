import VLLMSwiftCore

extension EngineError {
  /// A file that says what it cannot mean.
  static func corrupt(_ file: String, _ culprit: String) -> EngineError {
    EngineError(
      .modelCorrupt, "\(file) is damaged or incomplete, get it again: \(culprit)")
  }
}

/// A name out of a file, short enough for a message whatever the file holds.
func quoted(_ name: String) -> String {
  name.utf8.count <= 96 ? "'\(name)'" : "'\(name.prefix(64))...'"
}
