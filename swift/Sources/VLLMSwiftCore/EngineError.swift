/// An error that reaches the caller: a code of `vllm_swift.h` and a sentence that names the culprit
/// and the way out.
public struct EngineError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The raw values are those of `vllm_swift.h`; a contract test compares them.
  public enum Code: Int32, Sendable, CaseIterable {
    case invalidArgument = 10
    case invalidHandle = 11
    case unsupported = 12
    case emptyPrompt = 13
    case promptTooLong = 14
    case invalidToken = 15
    case invalidGrammar = 16
    case modelNotFound = 30
    case modelCorrupt = 31
    case unsupportedArchitecture = 32
    case unsupportedQuantization = 33
    case memoryBudget = 50
    case requestTooLarge = 51
    case grammarTooComplex = 52
    case backend = 70
    case deviceUnavailable = 71
    case grammarLibrary = 72
    case closed = 90
    case forked = 91
    case cancelled = 92
    case timedOut = 93
    case `internal` = 99
  }

  public let code: Code
  public let message: String

  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  public var description: String { message }
}
