public typealias RequestID = UInt64

/// One of a request's outputs.
public struct SequenceID: Hashable, Sendable {
  public let request: RequestID
  /// 0 ..< n
  public let index: Int

  public init(request: RequestID, index: Int = 0) {
    (self.request, self.index) = (request, index)
  }
}

/// A submitted request, before the engine has seen it.
public struct Request: Sendable {
  /// The most outputs of one request.
  public static let maxOutputs = 1024

  public let id: RequestID
  public let prompt: [Int32]
  public let sampling: SamplingParams
  /// `sampling.seed`, or one drawn for this request. Output i draws from the stream of seed + i, as
  /// in vLLM.
  public let seed: UInt64
  /// Outputs wanted.
  public let n: Int
  /// Lower runs earlier; equals, in the order of arrival.
  public let priority: Int
  /// What the keys and values of its tokens depend on beside them; see `PrefixIndex.Parent.root`.
  public let salt: [UInt8]

  /// - Throws: `emptyPrompt`, `invalidToken`, `promptTooLong`, `requestTooLarge`,
  ///   `unsupported` or `invalidArgument`: what could never run is refused before it waits.
  public init(
    id: RequestID, prompt: [Int32], sampling: SamplingParams, n: Int = 1, priority: Int = 0,
    salt: [UInt8] = [], limits: RequestLimits
  ) throws {
    guard (1...Self.maxOutputs).contains(n) else {
      throw EngineError(.invalidArgument, "n must be from 1 to \(Self.maxOutputs), and is \(n)")
    }
    (self.n, self.priority, self.salt) = (n, priority, salt)
    try sampling.validate()
    try limits.check(prompt)
    try limits.check(sampling)
    self.id = id
    self.prompt = prompt
    var bounded = sampling
    // The context is the model's own bound; reaching it finishes a request with `length`.
    bounded.maxTokens = min(sampling.maxTokens, limits.maxModelLength - prompt.count)
    if !sampling.ignoreEOS { bounded.stopTokenIDs.formUnion(sampling.eosTokenIDs) }
    try limits.checkCache(tokens: prompt.count + bounded.maxTokens, prompt: prompt.count)
    self.sampling = bounded
    seed = sampling.seed ?? UInt64.random(in: .min ... .max)
  }
}

/// What a model can serve.
public struct RequestLimits: Sendable {
  public var vocabularySize: Int
  /// Tokens, prompt and output together.
  public var maxModelLength: Int
  /// Tokens that the whole KV cache holds.
  public var cacheTokens: Int
  /// Whether its device only draws: no penalties, masks, biases or logprobs.
  public var onlyPlainDraws: Bool

  public init(
    vocabularySize: Int, maxModelLength: Int, cacheTokens: Int, onlyPlainDraws: Bool = false
  ) {
    self.vocabularySize = vocabularySize
    self.maxModelLength = maxModelLength
    self.cacheTokens = cacheTokens
    self.onlyPlainDraws = onlyPlainDraws
  }

  func check(_ prompt: [Int32]) throws {
    guard !prompt.isEmpty else {
      throw EngineError(.emptyPrompt, "the prompt has no token; give at least one")
    }
    guard prompt.count < maxModelLength else {
      throw EngineError(
        .promptTooLong,
        "the prompt has \(prompt.count) tokens, and the context holds \(maxModelLength) with the "
          + "output: shorten the prompt or raise max_model_len")
    }
    try check(prompt, name: "prompt")
  }

  /// - Throws: as `Request` does, for tokens that are only read.
  public func check(sequence tokens: [Int32]) throws {
    guard tokens.count <= maxModelLength else {
      throw EngineError(
        .promptTooLong,
        "the sequence has \(tokens.count) tokens, and the context holds \(maxModelLength)")
    }
    guard !tokens.isEmpty else {
      throw EngineError(.emptyPrompt, "the sequence has no token; give at least one")
    }
    try check(tokens, name: "tokens")
  }

  public static func notOnGPU(_ field: String) -> EngineError {
    EngineError(
      .unsupported, "\(field) is not supported on a GPU yet: leave it out, or use the CPU")
  }

  func check(_ sampling: SamplingParams) throws {
    if onlyPlainDraws, let field = sampling.firstBeyondPlainDraws {
      throw Self.notOnGPU(field)
    }
    try check(sampling.stopTokenIDs, name: "stop_token_ids")
    try check(sampling.eosTokenIDs, name: "eos_token_ids")
    try check(sampling.logitBias.keys, name: "logit_bias")
    try check(sampling.allowedTokenIDs, name: "allowed_token_ids")
    try check(sampling.badWords.joined(), name: "bad_words")
    for (name, count) in [
      ("logprobs", sampling.logprobs), ("prompt_logprobs", sampling.promptLogprobs),
    ] where count ?? 0 > vocabularySize {
      throw EngineError(
        .invalidArgument, "\(name) is \(count ?? 0), and the vocabulary has \(vocabularySize)")
    }
  }

  private func check(_ tokens: some Swift.Sequence<Int32>, name: String) throws {
    for token in tokens where token < 0 || Int(token) >= vocabularySize {
      throw EngineError(
        .invalidToken,
        "token id \(token) in \(name) is outside the vocabulary, 0 to \(vocabularySize - 1)")
    }
  }

  func checkCache(tokens: Int, prompt: Int) throws {
    guard tokens <= cacheTokens else {
      let fits = cacheTokens - prompt
      throw EngineError(
        .requestTooLarge,
        "the request needs \(tokens) tokens of KV cache and the memory budget leaves \(cacheTokens): "
          + (fits >= 1
            ? "max_tokens of at most \(fits) fits this prompt"
            : "a prompt of fewer than \(cacheTokens) tokens fits"))
    }
  }
}

/// Why a sequence ended. The raw values are those of `vllm_swift.h`.
public enum FinishReason: Int32, Sendable {
  case stop = 1
  case length = 2
  case cancelled = 3
  case error = 4
}
