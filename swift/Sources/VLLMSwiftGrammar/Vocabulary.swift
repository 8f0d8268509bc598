import CLLGuidance
import VLLMSwiftCore

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// A model's tokens as grammars see them.
public final class Vocabulary: @unchecked Sendable {
  public struct Tokens: Sendable {
    /// Of each token, in order. Those of a special token are 0xFF and its name; a token without any
    /// is never drawn under a grammar.
    public var bytes: [[UInt8]]
    /// Those that end an output; one at least.
    public var ends: [Int32]
    /// Nil: the tokenizer is another one, and no tokens are forced.
    public var pairs: BytePairs?

    public init(bytes: [[UInt8]], ends: [Int32], pairs: BytePairs?) {
      (self.bytes, self.ends, self.pairs) = (bytes, ends, pairs)
    }
  }

  /// What llguidance asks for the tokens of forced bytes.
  private final class Tokenizer: Sendable {
    let pairs: BytePairs

    init(_ pairs: BytePairs) { self.pairs = pairs }
  }

  let functions: llg_functions
  let handle: OpaquePointer
  let tokenCount: Int
  let ends: Set<Int32>
  let tokenOfByte: [UInt8: Int32]
  /// Words of a mask: a bit for each token.
  var maskWords: Int { (tokenCount + 31) / 32 }
  private let tokenizer: Tokenizer?

  /// - Parameter library: llguidance's path.
  /// - Throws: `grammarLibrary`; `invalidArgument` for tokens that make no vocabulary.
  public init(_ tokens: Tokens, library path: String) throws {
    functions = try GrammarLibrary(path: path).functions
    tokenCount = tokens.bytes.count
    ends = Set(tokens.ends)
    let single = tokens.bytes.enumerated().filter { $0.element.count == 1 }
    tokenOfByte = Dictionary(single.map { ($0.element[0], Int32($0.offset)) }) { first, _ in first }
    for token in tokens.ends where token < 0 || Int(token) >= tokenCount {
      throw EngineError(.invalidToken, "the end token \(token) is not in the vocabulary")
    }
    guard let end = tokens.ends.first else {
      throw EngineError(.invalidArgument, "a vocabulary needs a token that ends an output")
    }
    tokenizer = tokens.pairs.flatMap { $0.isUsable ? Tokenizer($0) : nil }
    handle = try Self.make(functions, tokens, end: UInt32(end), tokenizer)
  }

  deinit { functions.free_tokenizer(handle) }

  private static func make(
    _ functions: llg_functions, _ tokens: Tokens, end: UInt32, _ tokenizer: Tokenizer?
  ) throws -> OpaquePointer {
    let lengths = tokens.bytes.map { UInt32($0.count) }
    let bytes = Array(tokens.bytes.joined())
    let others = tokens.ends.dropFirst().map { UInt32($0) }
    return try lengths.withUnsafeBufferPointer { lengths in
      try bytes.withUnsafeBufferPointer { bytes in
        try others.withUnsafeBufferPointer { others in
          var parameters = llg_tokenizer_init()
          parameters.struct_size = MemoryLayout<llg_tokenizer_init>.size
          parameters.vocab_size = UInt32(lengths.count)
          parameters.tok_eos = end
          parameters.token_lens = lengths.baseAddress
          parameters.token_bytes = bytes.baseAddress
          parameters.tok_eos_extra = others.baseAddress
          parameters.tok_eos_extra_count = UInt32(others.count)
          if let tokenizer {
            parameters.tokenize_user_data = UnsafeRawPointer(
              Unmanaged.passUnretained(tokenizer).toOpaque())
            parameters.tokenize_fn = tokenize
          } else {
            parameters.use_approximate_greedy_tokenize_fn = true
          }
          let (made, why) = withSlices { slices in
            parameters.slices = slices
            return withMessage { functions.new_tokenizer_v2(&parameters, $0, $1) }
          }
          guard let made else {
            throw EngineError(.invalidArgument, "llguidance refuses the vocabulary: \(why)")
          }
          return made
        }
      }
    }
  }

  /// Tokens of text without quotes and escapes, by their length. Where a string may go on with any of
  /// these, they are allowed without a look at each. The library's own steps are 10 and 30 characters:
  /// strings of a bounded length then take three times as long, since few tokens are so long.
  private static let slices = ["{1,3}", "{1,6}", "{1,9}", "{1,13}", "{1,20}", "+"].map {
    #"[^"\\\x00-\x1F\x7F]"# + $0
  }

  private static func withSlices<Result>(
    _ body: (UnsafePointer<UnsafePointer<CChar>?>?) throws -> Result
  ) rethrows -> Result {
    let copies = slices.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    let ended = copies.map { UnsafePointer($0) } + [nil]
    return try ended.withUnsafeBufferPointer { try body($0.baseAddress) }
  }

  private static let tokenize: llg_tokenize = { context, bytes, count, tokens, capacity in
    guard let context, let bytes else { return 0 }
    let tokenizer = Unmanaged<Tokenizer>.fromOpaque(context).takeUnretainedValue()
    let found = tokenizer.pairs.tokens(of: Array(UnsafeBufferPointer(start: bytes, count: count)))
    for (index, token) in found.prefix(capacity).enumerated() {
      tokens?[index] = UInt32(bitPattern: token)
    }
    return found.count
  }
}
