/// How a request's tokens are chosen, under vLLM's names and meanings.
public struct SamplingParams: Sendable, Equatable {
  public var maxTokens = 16
  /// 0 is greedy.
  public var temperature: Float = 1
  /// 1 is off.
  public var topP: Float = 1
  /// 0 is off.
  public var minP: Float = 0
  /// 0 is off.
  public var topK = 0
  public var seed: UInt64?
  public var stopTokenIDs: Set<Int32> = []

  public init() {}

  /// - Throws: `invalidArgument`, naming the first field that is out of its range.
  public func validate() throws {
    func require(_ valid: Bool, _ field: String, _ value: some Any, _ range: String) throws {
      guard valid else {
        throw EngineError(.invalidArgument, "\(field) must be \(range), and is \(value)")
      }
    }
    try require(maxTokens >= 1, "max_tokens", maxTokens, "at least 1")
    try require(
      temperature >= 0 && temperature.isFinite, "temperature", temperature,
      "a finite number of at least 0")
    try require(topP > 0 && topP <= 1, "top_p", topP, "above 0 and at most 1")
    try require(minP >= 0 && minP <= 1, "min_p", minP, "between 0 and 1")
    try require(topK >= 0, "top_k", topK, "at least 1, or 0 or -1 for all tokens")
  }
}
