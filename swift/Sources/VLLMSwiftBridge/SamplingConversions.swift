import CVLLMSwift
import VLLMSwiftCore
import VLLMSwiftEngine

extension SamplingParams {
  init(_ params: vsw_sampling_params) throws {
    self.init()
    try refuse(
      unless: params.reserved_flags == (0, 0), "a reserved field of vsw_sampling_params")
    maxTokens = Int(params.max_tokens)
    minTokens = Int(params.min_tokens)
    temperature = params.temperature
    topP = params.top_p
    minP = params.min_p
    topK = params.top_k == -1 ? 0 : Int(params.top_k)
    presencePenalty = params.presence_penalty
    frequencyPenalty = params.frequency_penalty
    repetitionPenalty = params.repetition_penalty
    logprobs = params.logprobs == -1 ? nil : Int(params.logprobs)
    promptLogprobs = params.prompt_logprobs == -1 ? nil : Int(params.prompt_logprobs)
    seed = params.has_seed == 0 ? nil : params.seed
    stopTokenIDs = Set(
      try array(params.stop_token_ids, count: params.stop_token_count, "stop_token_ids"))
    eosTokenIDs = Set(
      try array(params.eos_token_ids, count: params.eos_token_count, "eos_token_ids"))
    guard params.ignore_eos <= 1 else {
      throw EngineError(.invalidArgument, "ignore_eos is \(params.ignore_eos), and must be 0 or 1")
    }
    ignoreEOS = params.ignore_eos == 1
    logitBias = try Self.biases(params)
    allowedTokenIDs = try array(
      params.allowed_token_ids, count: params.allowed_token_count, "allowed_token_ids")
    badWords = try Self.badWords(params)
    try validate()
  }

  private static func biases(_ params: vsw_sampling_params) throws -> [Int32: Float] {
    let ids = try array(params.logit_bias_ids, count: params.logit_bias_count, "logit_bias_ids")
    let values = try array(
      params.logit_bias_values, count: params.logit_bias_count, "logit_bias_values")
    return try Dictionary(zip(ids, values)) { _, _ in
      throw EngineError(.invalidArgument, "logit_bias_ids has a token twice")
    }
  }

  private static func badWords(_ params: vsw_sampling_params) throws -> [[Int32]] {
    let lengths = try array(
      params.bad_word_lengths, count: params.bad_word_count, "bad_word_lengths")
    let total = lengths.reduce(0) { $0 + Int($1) }
    let tokens = try array(params.bad_word_tokens, count: total, "bad_word_tokens")
    var first = 0
    return lengths.map { length in
      defer { first += Int(length) }
      return Array(tokens[first..<first + Int(length)])
    }
  }
}

extension TokenLogprob {
  var c: vsw_logprob { vsw_logprob(token: token, logprob: logprob, rank: rank) }
}
