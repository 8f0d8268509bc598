import Testing

@testable import VLLMSwiftGrammar

@Suite struct BytePairsTests {
  private static let letters: [(bytes: [UInt8], token: Int32)] = (UInt8(97)...122).map {
    ([$0], Int32($0) - 97)
  }

  /// Merges the first pair of the lowest rank until there is none.
  private func merged(_ tokens: [Int32], _ merges: [BytePairs.Merge]) -> [Int32] {
    var tokens = tokens
    while true {
      let ranks = zip(tokens, tokens.dropFirst()).map { left, right in
        merges.firstIndex { $0.left == left && $0.right == right }
      }
      guard let rank = ranks.compactMap({ $0 }).min(), let at = ranks.firstIndex(of: rank) else {
        return tokens
      }
      tokens.replaceSubrange(at...at + 1, with: [merges[rank].result])
    }
  }

  @Test func pairsAreMergedInTheOrderInWhichTheyWereLearned() {
    for _ in 0..<300 {
      var merges: [BytePairs.Merge] = []
      for result in 4..<Int32.random(in: 5...40) {
        let (left, right) = (Int32.random(in: 0..<result), Int32.random(in: 0..<result))
        if !merges.contains(where: { $0.left == left && $0.right == right }) {
          merges.append(BytePairs.Merge(left: left, right: right, result: result))
        }
      }
      let text = (0..<Int.random(in: 0...80)).map { _ in UInt8.random(in: 97...100) }
      let pairs = BytePairs(atoms: Self.letters, merges: merges)
      #expect(pairs.tokens(of: text) == merged(text.map { Int32($0) - 97 }, merges))
    }
  }

  @Test func charactersComeBeforeTheirBytes() {
    let snowman = Array("☃".utf8)
    let atoms = [(snowman, Int32(7))] + (UInt8(0)...255).map { ([$0], Int32($0) + 100) }
    let pairs = BytePairs(atoms: atoms, merges: [])
    #expect(pairs.tokens(of: snowman + [0x61]) == [7, 0x61 + 100])
    #expect(pairs.tokens(of: Array("é".utf8)) == [0xC3 + 100, 0xA9 + 100])
    // A character that is cut off.
    #expect(pairs.tokens(of: Array(snowman.prefix(2))) == snowman.prefix(2).map { Int32($0) + 100 })
    #expect(pairs.isUsable)
    #expect(!BytePairs(atoms: Self.letters, merges: []).isUsable)
  }

  @Test func aLongTextBecomesOneToken() {
    // Each merge is of two of the token before.
    let merges = (0..<18 as Range<Int32>).map { rank in
      let token = rank == 0 ? 0 : 25 + rank
      return BytePairs.Merge(left: token, right: token, result: 26 + rank)
    }
    let pairs = BytePairs(atoms: Self.letters, merges: merges)
    #expect(pairs.tokens(of: Array(repeating: 97, count: 1 << 18)) == [43])
  }
}
