import CKernels
import MLXArray
import Testing

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

@Suite struct SamplerTests {
  private let stream: MLXStream

  init() throws {
    stream = try MLXStream(gpu: false)
  }

  private struct Drawn {
    let tokens: MLXArray
    let logprobs: MLXArray?
  }

  private struct Row {
    var sampling: ck_sampling
    let sampler: SamplerHandle?
  }

  /// Not yet evaluated.
  private func draw(_ logits: [[Float]], _ rows: [Row]) throws -> Drawn {
    try withExtendedLifetime(rows) {
      try draw(
        logits,
        rows.map { row in
          var sampling = row.sampling
          sampling.sampler = row.sampler?.pointer
          return sampling
        })
    }
  }

  private func draw(_ logits: [[Float]], _ rows: [ck_sampling]) throws -> Drawn {
    let array = try Array(logits.joined()).withUnsafeBytes {
      try MLXArray(bytes: $0, shape: [rows.count, logits[0].count], dtype: .float32)
    }
    var logprobs: cmlx_array?
    let tokens = try stream.withHandle { stream in
      try array.withHandle { array in
        try MLXArray { ck_sample(stream, array, rows, Int32(rows.count), $0, &logprobs, $1) }
      }
    }
    return Drawn(
      tokens: tokens,
      logprobs: try logprobs.map { given in
        try MLXArray { result, _ in
          result.pointee = given
          return 0
        }
      })
  }

  private func tokens(_ drawn: Drawn) throws -> [Int32] {
    try drawn.tokens.elements(of: Int32.self, on: stream)
  }

  private func row(
    _ sampler: SamplerHandle? = nil, index: Int = 0, temperature: Float = 0, uniform: Float = 0,
    known: Int32 = -1, logprobs: Int32 = -1
  ) -> Row {
    Row(
      sampling: ck_sampling(
        temperature: temperature, top_p: 1, min_p: 0, top_k: 0, uniform: uniform, known: known,
        logprobs: logprobs, index: Int32(index), sampler: nil, mask: nil, given: nil,
        given_count: 0),
      sampler: sampler)
  }

  private func logits(_ vocabulary: Int, _ numbers: inout Numbers) -> [Float] {
    (0..<vocabulary).map { _ in Float.random(in: -6...6, using: &numbers) }
  }

  // MARK: - Samplers

  /// Tokens of `run`, each drawn from naively processed logits, in vLLM's order; nil if all are
  /// banned at some point.
  private func wanted(
    _ run: SamplerRun, _ logits: [[Float]], _ draws: [(temperature: Float, uniform: Float)]
  ) throws -> [Int32]? {
    var output: [Int32] = []
    for (logits, draw) in zip(logits, draws) {
      let plain = row(temperature: draw.temperature, uniform: draw.uniform)
      output += try tokens(self.draw([run.adjusted(logits, output: output)], [plain]))
      if output.last == Int32(CK_LOGITS_MASKED) { return nil }
    }
    return output
  }

  @Test(arguments: 0..<24)
  func sequencesAreDrawnAsTheirOwnHistoryHasIt(_ seed: UInt64) throws {
    var numbers = Numbers(state: seed)
    let vocabulary = [13, 40, 3001][Int(seed % 3)]
    let (sequences, steps) = (3, 25)
    let logits = (0..<sequences).map { _ in
      (0..<steps).map { _ in self.logits(vocabulary, &numbers) }
    }
    let draws = (0..<steps).map { _ in
      (
        temperature: Bool.random(using: &numbers) ? 0 : Float(1.2),
        uniform: Float.random(in: 0..<1, using: &numbers)
      )
    }
    var (runs, samplers, expected): ([SamplerRun], [SamplerHandle], [[Int32]]) = ([], [], [])
    while runs.count < sequences {
      let run = SamplerRun.random(vocabulary: vocabulary, &numbers)
      // A small vocabulary can be banned as a whole; such a sequence has no answer.
      guard let tokens = try wanted(run, logits[runs.count], draws) else { continue }
      runs.append(run)
      samplers.append(try run.sampler())
      expected.append(tokens)
    }
    // All steps are issued before the first is read, and beside a row that has no state.
    let issued = try (0..<steps).map { step in
      let rows = samplers.map { sampler in
        row(
          sampler, index: step, temperature: draws[step].temperature, uniform: draws[step].uniform)
      }
      let drawn = try draw(
        (0..<sequences).map { logits[$0][step] } + [logits[0][step]], rows + [row()])
      try MLXArray.asyncEval([drawn.tokens])
      return drawn
    }
    let together = try issued.map(tokens)
    for sequence in 0..<sequences {
      #expect(together.map { $0[sequence] } == expected[sequence], "\(runs[sequence])")
    }
    // Anew from somewhere, as after a preemption.
    let start = Int.random(in: 0..<steps, using: &numbers)
    let again = try (start..<steps).flatMap { step in
      let (temperature, uniform) = draws[step]
      return try tokens(
        draw(
          [logits[1][step]],
          [row(samplers[1], index: step, temperature: temperature, uniform: uniform)]))
    }
    #expect(again == Array(expected[1][start...]))
  }

  @Test func tokensThatAreGivenCountAsIfTheyWereDrawn() throws {
    var numbers = Numbers(state: 11)
    var run = SamplerRun(vocabulary: 40, prompt: [3])
    (run.repetition, run.frequency, run.presence) = (1.7, 0.9, 0.4)
    (run.minTokens, run.ends, run.badWords) = (4, [5], [[8, 9, 10]])
    let sampler = try run.sampler()
    var output: [Int32] = []
    for given: [Int32] in [[], [8, 9], [], [5, 5, 7], [8], [9]] {
      output += given
      let logits = logits(40, &numbers)
      var row = row(sampler, index: output.count)
      let drawn = try given.withUnsafeBufferPointer { given in
        row.sampling.given = given.baseAddress
        row.sampling.given_count = Int32(given.count)
        return try tokens(draw([logits], [row]))
      }
      #expect(drawn == (try tokens(draw([run.adjusted(logits, output: output)], [self.row()]))))
      output += drawn
    }
    // In place of what was drawn last.
    output.removeLast()
    output += [1, 2]
    let logits = logits(40, &numbers)
    var row = row(sampler, index: output.count)
    let drawn = try [1, 2].map { Int32($0) }.withUnsafeBufferPointer { given in
      (row.sampling.given, row.sampling.given_count) = (given.baseAddress, 2)
      return try tokens(draw([logits], [row]))
    }
    #expect(drawn == (try tokens(draw([run.adjusted(logits, output: output)], [self.row()]))))
  }

  @Test func aSamplerOutlivesItsHandleInAQueuedStep() throws {
    var run = SamplerRun(vocabulary: 3)
    run.biases = [(2, 10)]
    var sampler: SamplerHandle? = try run.sampler()
    let drawn = try draw([[1, 2, 0]], [row(sampler)])
    sampler = nil
    #expect(try tokens(drawn) == [2])
  }

  @Test func hugePenaltiesStayPenalties() throws {
    var run = SamplerRun(vocabulary: 4, prompt: [0, 1, 3])
    run.repetition = 1e-38
    #expect(try tokens(draw([[5, -5, 1, 0]], [row(try run.sampler(), temperature: 1)])) == [0])
    run.repetition = 3e38
    #expect(try tokens(draw([[5, -5, -9, -1]], [row(try run.sampler())])) == [0])
  }

  @Test func badSamplersAreRefused() throws {
    for change: (inout SamplerRun) -> Void in [
      { $0.repetition = 0 }, { $0.repetition = .infinity }, { $0.repetition = .nan },
      { $0.frequency = .nan }, { $0.presence = .infinity }, { $0.minTokens = -1 },
      { $0.ends = [9] }, { $0.allowed = [-1] }, { $0.biases = [(9, 1)] },
      { $0.biases = [(1, .nan)] }, { $0.badWords = [[1], []] }, { $0.badWords = [[1, 9]] },
      { $0.prompt = [9] },
    ] {
      var run = SamplerRun(vocabulary: 9, prompt: [1])
      change(&run)
      #expect(throws: (any Error).self) { try run.sampler() }
    }
  }

  @Test func stepsThatCannotBeSampledAreRefused() throws {
    let sampler = try SamplerRun(vocabulary: 3).sampler()
    let logits: [[Float]] = [[1, 2, 3], [3, 2, 1]]
    #expect(throws: (any Error).self) { try draw(logits, [row(sampler), row(sampler)]) }
    #expect(throws: (any Error).self) { try draw([[1, 2, 3, 4]], [row(sampler)]) }
    for bad in [
      row(known: 3), row(known: -2), row(logprobs: 4), row(logprobs: -2), row(sampler, index: -1),
      row(sampler, known: 1),
    ] {
      let error = try #require(throws: (any Error).self) { try draw(logits, [row(), bad]) }
      #expect("\(error)".contains("row 1"))
    }
    let error = try #require(throws: (any Error).self) {
      try tokens(draw([[1, 2, 3]], [row(sampler, index: 1)]))
    }
    #expect("\(error)".contains("that has drawn 0"))
  }

  // MARK: - Logprobs

  @Test(arguments: 0..<20)
  func logprobsAreThoseOfTheLogitsAsTheyAre(_ seed: UInt64) throws {
    var numbers = Numbers(state: seed)
    let vocabulary = [5, 16, 1024, 1025, 5000][Int(seed % 5)]
    let rows = (0..<4).map { i in
      row(
        temperature: 1, uniform: Float.random(in: 0..<1, using: &numbers),
        known: i == 2 ? Int32(vocabulary - 1) : -1, logprobs: [-1, 0, 3, 5][i])
    }
    var logits = rows.map { _ in self.logits(vocabulary, &numbers) }
    // Equal ones, some that cannot be, and some far from zero.
    for i in logits.indices {
      logits[i] = logits[i].map { ($0 * 2).rounded() / 2 + Float(i) * 300 }
      logits[i][1] = -.infinity
    }
    let drawn = try draw(logits, rows)
    let tokens = try tokens(drawn)
    #expect(tokens[2] == Int32(vocabulary - 1))
    let entries = try #require(drawn.logprobs).elements(of: ck_logprob.self, on: stream)
    #expect(entries.count == 1 + 4 + 6)
    for (i, range) in [(1, 0..<1), (2, 1..<5), (3, 5..<11)] {
      let entries = entries[range]
      let order = logits[i].indices.sorted { (-logits[i][$0], $0) < (-logits[i][$1], $1) }
      let top = Double(logits[i][order[0]])
      let sum = log(logits[i].reduce(0) { $0 + exp(Double($1) - top) })
      for entry in entries {
        let wanted = Double(logits[i][Int(entry.token)]) - top - sum
        #expect(
          Double(entry.logprob) == wanted || abs(Double(entry.logprob) - wanted) < 2e-6,
          "\(entry), \(wanted)")
      }
      let own = logits[i][Int(tokens[i])]
      #expect(entries.first?.token == tokens[i])
      #expect(entries.first?.rank == Int32(logits[i].count { $0 >= own }))
      #expect(entries.dropFirst().map { Int($0.token) } == Array(order.prefix(entries.count - 1)))
      #expect(entries.dropFirst().map(\.rank) == (1..<Int32(entries.count)).map { $0 })
      let alone = try draw([logits[i]], [rows[i]])
      let same = try #require(alone.logprobs).elements(of: ck_logprob.self, on: stream)
      #expect(same.map(\.logprob) == entries.map(\.logprob))
    }
  }

  @Test func logprobsAreNotOfWhatASamplerMakesOfTheLogits() throws {
    var run = SamplerRun(vocabulary: 4)
    run.allowed = [1]
    let drawn = try draw([[2, 0, 1, 3]], [row(try run.sampler(), logprobs: 2)])
    #expect(try tokens(drawn) == [1])
    let entries = try #require(drawn.logprobs).elements(of: ck_logprob.self, on: stream)
    #expect(entries.map(\.token) == [1, 3, 0])
    #expect(entries.map(\.rank) == [4, 1, 2])
  }

  @Test func logitsThatAreNoNumbersHaveNoLogprobs() throws {
    for (bad, code) in [(Float.nan, CK_LOGITS_NAN), (.infinity, CK_LOGITS_INFINITE)] {
      let drawn = try draw([[1, 2], [1, bad]], [row(logprobs: 0), row(known: 0, logprobs: 1)])
      #expect(try tokens(drawn) == [1, Int32(code)])
      let entries = try #require(drawn.logprobs).elements(of: ck_logprob.self, on: stream)
      #expect(entries.count == 3 && entries[0].token == 1)
    }
  }

  @Test func aSequenceWithoutATokenLeavesTheOthersOfTheNextStepAlone() throws {
    let sampler = try SamplerRun(vocabulary: 2).sampler()
    let bad = try draw([[.nan, 2], [1, 2]], [row(sampler), row()])
    let next = try draw([[1, 2], [3, 2]], [row(sampler, index: 1), row()])
    #expect(try tokens(bad) == [Int32(CK_LOGITS_NAN), 1])
    #expect(try tokens(next)[1] == 0)
  }
}
