import Testing

@testable import VLLMSwiftCore

@Suite struct PhiloxTests {
  /// Known answers of Random123, the authors' library (kat_vectors, philox4x32 10).
  @Test func matchesItsAuthorsKnownAnswers() {
    let zero = Philox.block(key: 0, counter: 0)
    #expect(zero == (0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
  }

  @Test func drawsAreUniformAndDependOnSeedAndIndexAlone() {
    let draws = (0..<10_000).map { Philox.uniform(seed: 7, index: $0) }
    #expect(draws.allSatisfy { (0..<1).contains($0) })
    let mean = draws.reduce(0, +) / Float(draws.count)
    #expect(abs(mean - 0.5) < 0.02)
    #expect(Philox.uniform(seed: 7, index: 123) == draws[123])
    #expect(Philox.uniform(seed: 8, index: 123) != draws[123])
  }
}
