import CKernels
import MLXArray
import Testing

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

@Suite struct SampleTests {
  private let stream: MLXStream

  init() throws {
    stream = try MLXStream(gpu: false)
  }

  private func sample(_ logits: [Float], _ rows: [ck_sampling]) throws -> [Int32] {
    let array = try logits.withUnsafeBytes {
      try MLXArray(bytes: $0, shape: [rows.count, logits.count / rows.count], dtype: .float32)
    }
    let tokens = try stream.withHandle { stream in
      try array.withHandle { array in
        var none: cmlx_array?
        return try MLXArray { ck_sample(stream, array, rows, Int32(rows.count), $0, &none, $1) }
      }
    }
    return try tokens.elements(of: Int32.self, on: stream)
  }

  private func row(
    _ temperature: Float = 1, topP: Float = 1, minP: Float = 0, topK: Int = 0, uniform: Float = 0.5
  ) -> ck_sampling {
    ck_sampling(
      temperature: temperature, top_p: topP, min_p: minP, top_k: Int32(topK), uniform: uniform,
      known: -1, logprobs: -1, index: 0, sampler: nil, mask: nil, given: nil, given_count: 0)
  }

  /// The tokens that a draw may be, in float64: all whose share of the cumulative probability comes
  /// within `slack` of the draw.
  private func allowed(
    _ logits: ArraySlice<Float>, _ row: ck_sampling, slack: Double = 1e-6
  ) -> Set<Int32> {
    let logits = Array(logits)
    let order = logits.indices.sorted { (-logits[$0], $0) < (-logits[$1], $1) }
    let top = Double(logits[order[0]])
    var kept = order.map { exp((Double(logits[$0]) - top) / Double(row.temperature)) }
    func cut(after count: Int) { kept.removeSubrange(min(count, kept.count)...) }
    if row.min_p > 0 { cut(after: kept.firstIndex { $0 < Double(row.min_p) } ?? kept.count) }
    if row.top_k > 0 { cut(after: Int(row.top_k)) }
    if row.top_p < 1 {
      let bound = kept.reduce(0, +) * Double(row.top_p)
      var count = 0
      var mass = 0.0
      while mass < bound && count < kept.count {
        mass += kept[count]
        count += 1
      }
      cut(after: count)
    }
    let total = kept.reduce(0, +)
    let target = total * Double(row.uniform)
    var tokens: Set<Int32> = []
    var before = 0.0
    for (token, mass) in zip(order, kept) {
      if before <= target + total * slack && target - total * slack < before + mass {
        tokens.insert(Int32(token))
      }
      before += mass
    }
    return tokens
  }

  @Test(arguments: 0..<40)
  func drawsInvertTheCumulativeProbabilities(_ seed: UInt64) throws {
    var numbers = Numbers(state: seed)
    let vocabulary = [7, 300, 5_000, 49_152][Int(seed % 4)]
    let spread = Float.random(in: 0.1...8, using: &numbers)
    let count = Int.random(in: 1...6, using: &numbers)
    let logits = (0..<count * vocabulary).map { _ in
      // Some equal ones, and some far below the rest.
      (Float.random(in: -4...4, using: &numbers) * spread * 64).rounded() / 64
        - (Int.random(in: 0..<50, using: &numbers) == 0 ? 1000 : 0)
    }
    let rows = (0..<count).map { _ in
      row(
        Float.random(in: 0.2...2, using: &numbers),
        topP: Bool.random(using: &numbers) ? 1 : Float.random(in: 0.05...0.99, using: &numbers),
        minP: Bool.random(using: &numbers) ? 0 : Float.random(in: 0.001...0.3, using: &numbers),
        topK: Bool.random(using: &numbers) ? 0 : Int.random(in: 1...100, using: &numbers),
        uniform: Float.random(in: 0..<1, using: &numbers))
    }
    for (i, token) in try sample(logits, rows).enumerated() {
      let allowed = allowed(logits[i * vocabulary..<(i + 1) * vocabulary], rows[i])
      #expect(allowed.contains(token), "\(token) is not in \(allowed): \(rows[i])")
      #expect(
        try sample(Array(logits[i * vocabulary..<(i + 1) * vocabulary]), [rows[i]]) == [token])
    }
  }

  @Test func temperatureZeroTakesTheFirstOfTheLargest() throws {
    var logits = [Float](repeating: -1, count: 1000)
    logits[700] = 3
    logits[41] = 3
    #expect(try sample(logits, [row(0)]) == [41])
    logits[999] = .infinity
    #expect(try sample(logits, [row(0)]) == [999])
    // All but nothing of a temperature.
    logits[999] = -1
    #expect(try sample(logits, [row(1e-40, uniform: 0.2)]) == [41])
    #expect(try sample(logits, [row(1e-40, uniform: 0.7)]) == [700])
  }

  @Test func everyTokenIsDrawnAsOftenAsItsProbability() throws {
    let probabilities: [Float] = [0.1, 0.4, 0.05, 0.25, 0.2]
    let rows = (0..<1000).map { row(uniform: (Float($0) + 0.5) / 1000) }
    let logits = rows.flatMap { _ in probabilities.map(logf) }
    let tokens = try sample(logits, rows)
    for (token, probability) in probabilities.enumerated() {
      let share = Float(tokens.count { Int($0) == token }) / 1000
      #expect(abs(share - probability) < 0.0015, "token \(token)")
    }
    // Most likely first.
    #expect(tokens == tokens.sorted { probabilities[Int($0)] > probabilities[Int($1)] })
  }

  @Test func tokensThatAreMaskedOutAreNeverDrawn() throws {
    var logits = [Float](repeating: -.infinity, count: 500)
    logits[123] = -5
    for uniform: Float in [0, 0.5, Float(1).nextDown] {
      #expect(try sample(logits, [row(uniform: uniform)]) == [123])
      #expect(try sample(logits, [row(topP: 0.9, topK: 10, uniform: uniform)]) == [123])
    }
    #expect(try sample(logits, [row(0)]) == [123])
  }

  @Test func nothingButWhatAMaskHasIsDrawn() throws {
    var numbers = Numbers(state: 7)
    for vocabulary in [1, 31, 32, 33, 5_000] {
      let logits = (0..<vocabulary).map { _ in Float.random(in: -6...6, using: &numbers) }
      // A word of all zeros and one of all ones among them.
      var mask = (0..<(vocabulary + 31) / 32).map { _ in UInt32.random(in: 0 ... .max) }
      if mask.count > 2 { (mask[0], mask[1]) = (0, .max) }
      mask[mask.count - 1] |= 1
      let allowed = logits.indices.filter { mask[$0 / 32] >> ($0 % 32) & 1 == 1 }
      let masked = logits.indices.map { allowed.contains($0) ? logits[$0] : -.infinity }
      for temperature: Float in [0, 0.7] {
        let plain = row(temperature, uniform: Float.random(in: 0..<1, using: &numbers))
        let drawn = try mask.withUnsafeBufferPointer { mask in
          var row = plain
          row.mask = mask.baseAddress
          return try sample(logits + logits, [row, plain])
        }
        #expect(drawn == (try sample(masked, [plain])) + (try sample(logits, [plain])))
      }
    }
  }

  @Test func aMaskThatLeavesNothingDrawsNoToken() throws {
    let mask: [UInt32] = [0, 0b100]
    let logits: [Float] = Array(repeating: 1, count: 34)
    let drawn = try mask.withUnsafeBufferPointer { mask in
      var row = row()
      row.mask = mask.baseAddress
      return try sample(logits, [row])
    }
    #expect(drawn == [Int32(CK_LOGITS_MASKED)])
  }

  @Test func flatLogitsAreDrawnInOrderOfTheirIds() throws {
    let logits = [Float](repeating: 2, count: 30_000)
    #expect(try sample(logits, [row(uniform: 0)]) == [0])
    #expect(try sample(logits, [row(uniform: 0.500001)]) == [15_000])
    #expect(try sample(logits, [row(topK: 10, uniform: 0.95)]) == [9])
  }

  @Test(arguments: [1, 3])
  func logitsThatAreNoNumbersGiveTheirRowAloneNoToken(_ rowCount: Int) throws {
    for temperature: Float in [0, 1] {
      let rows = [ck_sampling](repeating: row(temperature, topK: 1), count: rowCount)
      for (bad, code) in [(Float.nan, CK_LOGITS_NAN), (-.infinity, CK_LOGITS_MASKED)] {
        var logits = [Float](repeating: 1, count: rowCount * 100)
        for i in logits.count - 100..<logits.count { logits[i] = bad }
        let others = [Int32](repeating: 0, count: rowCount - 1)
        #expect(try sample(logits, rows) == others + [Int32(code)])
      }
    }
    #expect(try sample([0, .infinity], [row(1)]) == [Int32(CK_LOGITS_INFINITE)])
  }

  @Test func parametersOutOfRangeAreRefused() throws {
    for bad in [
      row(-1), row(.nan), row(.infinity), row(topP: 0), row(topP: 1.1), row(topP: .nan),
      row(minP: -0.1), row(minP: 2), row(minP: .nan), row(topK: -1), row(uniform: 1),
      row(uniform: -0.1), row(uniform: .nan),
    ] {
      let error = try #require(throws: (any Error).self) {
        try sample([1, 2, 3, 4], [row(), bad])
      }
      #expect("\(error)".contains("row 1"))
    }
  }
}
