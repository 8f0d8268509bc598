/// How a request's tokens are chosen, under vLLM's names and meanings.
public struct SamplingParams: Sendable, Equatable {
  /// The most `logprobs` and `promptLogprobs` that a request may ask for.
  public static let maxLogprobs = 20

  public var maxTokens = 16
  /// So many tokens come before one that ends the sequence.
  public var minTokens = 0
  /// 0 is greedy.
  public var temperature: Float = 1
  /// 1 is off.
  public var topP: Float = 1
  /// 0 is off.
  public var minP: Float = 0
  /// 0 is off.
  public var topK = 0
  /// Subtracted from a token's logit once if the output has it; 0 is off.
  public var presencePenalty: Float = 0
  /// Subtracted for each time the output has it; 0 is off.
  public var frequencyPenalty: Float = 0
  /// Divides (or, of a negative logit, multiplies) if prompt or output has it; 1 is off.
  public var repetitionPenalty: Float = 1
  /// Logprobs of each token and of so many most likely ones; nil is none.
  public var logprobs: Int?
  /// The same of the prompt's tokens.
  public var promptLogprobs: Int?
  public var seed: UInt64?
  /// End a sequence, as do those of `eosTokenIDs` unless `ignoreEOS`.
  public var stopTokenIDs: Set<Int32> = []
  public var eosTokenIDs: Set<Int32> = []
  public var ignoreEOS = false
  /// Added to the tokens' logits.
  public var logitBias: [Int32: Float] = [:]
  /// Nothing else is sampled; empty is off.
  public var allowedTokenIDs: [Int32] = []
  /// Runs of tokens that the output never has.
  public var badWords: [[Int32]] = []

  public init() {}

  /// Whether what is sampled depends on more than the logits and the draw.
  public var needsSampler: Bool {
    minTokens > 0 || presencePenalty != 0 || frequencyPenalty != 0 || repetitionPenalty != 1
      || !logitBias.isEmpty || !allowedTokenIDs.isEmpty || !badWords.isEmpty
  }

  /// The first field that a plain draw from the logits cannot serve, for errors.
  public var firstBeyondPlainDraws: String? {
    let used = [
      ("min_tokens", minTokens > 0), ("presence_penalty", presencePenalty != 0),
      ("frequency_penalty", frequencyPenalty != 0), ("repetition_penalty", repetitionPenalty != 1),
      ("logit_bias", !logitBias.isEmpty), ("allowed_token_ids", !allowedTokenIDs.isEmpty),
      ("bad_words", !badWords.isEmpty), ("logprobs", logprobs != nil),
      ("prompt_logprobs", promptLogprobs != nil),
    ]
    return used.first { $0.1 }?.0
  }

  /// - Throws: `invalidArgument`, naming the first field that is out of its range.
  public func validate() throws {
    func require(_ valid: Bool, _ field: String, _ value: some Any, _ range: String) throws {
      guard valid else {
        throw EngineError(.invalidArgument, "\(field) must be \(range), and is \(value)")
      }
    }
    try require(maxTokens >= 1, "max_tokens", maxTokens, "at least 1")
    try require(
      (0...maxTokens).contains(minTokens), "min_tokens", minTokens,
      "at least 0 and at most max_tokens, \(maxTokens)")
    try require(
      temperature >= 0 && temperature.isFinite, "temperature", temperature,
      "a finite number of at least 0")
    try require(topP > 0 && topP <= 1, "top_p", topP, "above 0 and at most 1")
    try require(minP >= 0 && minP <= 1, "min_p", minP, "between 0 and 1")
    try require(topK >= 0, "top_k", topK, "at least 1, or 0 or -1 for all tokens")
    for (name, penalty) in [
      ("presence_penalty", presencePenalty), ("frequency_penalty", frequencyPenalty),
    ] {
      try require(penalty >= -2 && penalty <= 2, name, penalty, "between -2 and 2")
    }
    try require(
      repetitionPenalty > 0 && repetitionPenalty.isFinite, "repetition_penalty", repetitionPenalty,
      "a finite number above 0")
    for (name, count) in [("logprobs", logprobs), ("prompt_logprobs", promptLogprobs)] {
      guard let count else { continue }
      try require(
        (0...Self.maxLogprobs).contains(count), name, count,
        "from 0 to \(Self.maxLogprobs), or -1 for none")
    }
    for (token, bias) in logitBias {
      try require(bias.isFinite, "logit_bias of token \(token)", bias, "a finite number")
    }
    try require(badWords.allSatisfy { !$0.isEmpty }, "bad_words", badWords, "words with tokens")
    try requireSomethingToSample()
  }

  /// A step in which nothing may be sampled would fail, and others with it.
  private func requireSomethingToSample() throws {
    guard !allowedTokenIDs.isEmpty else { return }
    var banned = Set(badWords.compactMap(\.last))
    if minTokens > 0 { banned.formUnion(stopTokenIDs.union(eosTokenIDs)) }
    guard !banned.isSuperset(of: allowedTokenIDs) else {
      throw EngineError(
        .invalidArgument,
        "allowed_token_ids must have a token that bad_words and min_tokens never ban")
    }
  }
}

/// The logarithm of a token's probability, of the model's logits as they are. Laid out as
/// `vsw_logprob`.
public struct TokenLogprob: Sendable, Equatable, BitwiseCopyable {
  public var token: Int32
  public var logprob: Float
  /// 1 is the most likely token.
  public var rank: Int32

  public init(token: Int32, logprob: Float, rank: Int32) {
    (self.token, self.logprob, self.rank) = (token, logprob, rank)
  }
}
