import CVLLMSwift
import VLLMSwiftCore
import VLLMSwiftEngine
import VLLMSwiftGrammar

@_cdecl("vsw_model_set_vocabulary")
public func modelSetVocabulary(
  _ model: OpaquePointer?, _ vocabulary: UnsafePointer<vsw_vocabulary>?,
  _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let model = try Handles.models.object(model)
    let vocabulary = try required(vocabulary, "vocabulary")
    try vsw_vocabulary.check(vocabulary)
    let library = String(cString: try required(vocabulary.pointee.library, "library"))
    try model.runtime.setVocabulary(
      try Vocabulary.Tokens(vocabulary.pointee), library: library, of: model.id)
  }
}

@_cdecl("vsw_grammar_compile")
public func grammarCompile(
  _ model: OpaquePointer?, _ kind: Int32, _ text: UnsafePointer<CChar>?, _ size: Int,
  _ grammar: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<vsw_error>?
) -> vsw_status {
  status(error) {
    let grammar = try required(grammar, "grammar")
    let model = try Handles.models.object(model)
    guard let kind = GrammarSource.Kind(rawValue: kind) else {
      throw EngineError(.invalidArgument, "kind is \(kind), no VSW_GRAMMAR_*")
    }
    let bytes = try array(text, count: size, "text").map { UInt8(bitPattern: $0) }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw EngineError(.invalidGrammar, "the grammar is not UTF-8")
    }
    let compiled = try model.runtime.grammar(GrammarSource(kind, text), of: model.id)
    grammar.pointee = Handles.grammars.insert(CompiledGrammar(model: model, compiled: compiled))
  }
}

@_cdecl("vsw_grammar_destroy")
public func grammarDestroy(_ grammar: OpaquePointer?) {
  _ = Handles.grammars.remove(grammar)
}

extension Vocabulary.Tokens {
  init(_ vocabulary: vsw_vocabulary) throws {
    let lengths = try array(
      vocabulary.token_lengths, count: Int(vocabulary.token_count), "token_lengths")
    let total = lengths.reduce(0) { $0 + Int($1) }
    let all = try array(vocabulary.token_bytes, count: total, "token_bytes")
    var first = 0
    let bytes = lengths.map { length in
      defer { first += Int(length) }
      return Array(all[first..<first + Int(length)])
    }
    let ends = try array(
      vocabulary.eos_token_ids, count: vocabulary.eos_token_count, "eos_token_ids")
    self.init(bytes: bytes, ends: ends, pairs: try Self.pairs(vocabulary, bytes))
  }

  private static func pairs(_ vocabulary: vsw_vocabulary, _ bytes: [[UInt8]]) throws -> BytePairs? {
    let atoms = try array(vocabulary.atoms, count: vocabulary.atom_count, "atoms")
    let (count, overflow) = vocabulary.merge_count.multipliedReportingOverflow(by: 3)
    guard !overflow else { throw EngineError(.invalidArgument, "merge_count is out of range") }
    let merges = try array(vocabulary.merges, count: count, "merges")
    guard !atoms.isEmpty else { return nil }
    for token in [atoms, merges].joined() where !bytes.indices.contains(Int(token)) {
      throw EngineError(.invalidToken, "token \(token) of atoms or merges is not in the vocabulary")
    }
    return BytePairs(
      atoms: atoms.map { (bytes[Int($0)], $0) },
      merges: stride(from: 0, to: merges.count, by: 3).map {
        BytePairs.Merge(left: merges[$0], right: merges[$0 + 1], result: merges[$0 + 2])
      })
  }
}
