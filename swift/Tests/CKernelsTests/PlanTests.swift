import CKernels
import MLXArray
import Testing

/// What a plan and a step refuse, and what a step may ask.
@Suite struct PlanTests {
  private let stream: MLXStream
  private let isa: ck_isa
  private let cache: Cache
  private let table: PackedMatrix

  private final class Cache {
    var handle: OpaquePointer?
    init() throws { try checkMLX { ck_kv_create(2, 1, 8, 4, &handle, $0) } }
    deinit { ck_kv_free(handle) }
  }

  private static let vocabulary = 48
  private static let width = 32

  init() throws {
    stream = try MLXStream(gpu: false)
    isa = try #require(instructionSets.first)
    cache = try Cache()
    var numbers = Numbers(state: 1)
    let matrix = WeightMatrix(
      .float32, rows: Self.vocabulary, columns: Self.width, &numbers)
    table = try PackedMatrix([matrix], isa)
  }

  /// Freed with the last step that needs it.
  private final class Plan {
    var handle: OpaquePointer?
    deinit { ck_plan_free(handle) }
  }

  private func attention(
    heads: Int = 2, kvHeads: Int = 1, headDim: Int = 8
  ) -> AttentionShape {
    AttentionShape(heads: heads, kvHeads: kvHeads, headDim: headDim)
  }

  /// An embedding of 32 columns, which are the q, k and v of two heads, and logits.
  private func plan(maxRows: Int = 64) throws -> Plan {
    let plan = Plan()
    try checkMLX { ck_plan_create(isa, Int32(maxRows), cache.handle, &plan.handle, $0) }
    var x: ck_rows = -1
    var mixed: ck_rows = -1
    try checkMLX { ck_plan_embed(plan.handle, table.handle, &x, $0) }
    try attention().withAttention { a in
      try checkMLX { ck_plan_attend(plan.handle, x, &a, &mixed, $0) }
    }
    try checkMLX { ck_plan_logits(plan.handle, x, nil, 0, table.handle, $0) }
    return plan
  }

  private struct Request {
    var tokens: [Int32] = [1, 2, 3]
    var chunks = [Chunk(blocks: [0], position: 0, rows: 3)]
    var logitRows: [Int32] = [2]
    var previous: [Int32]?
    var rowCount: Int32?
    var sequenceCount: Int32?
    var logitCount: Int32?
    var change: (inout [ck_sequence]) -> Void = { _ in }
  }

  private func step(_ plan: Plan, _ request: Request) throws -> MLXArray {
    let previous = try request.previous.map { tokens in
      try tokens.withUnsafeBytes {
        try MLXArray(bytes: $0, shape: [tokens.count], dtype: .int32)
      }
    }
    return try withSequences(request.chunks) { sequences in
      var sequences = sequences
      request.change(&sequences)
      return try sequences.withUnsafeBufferPointer { sequences in
        try request.tokens.withUnsafeBufferPointer { tokens in
          try request.logitRows.withUnsafeBufferPointer { logitRows in
            var step = ck_step(
              row_count: request.rowCount ?? Int32(tokens.count),
              sequence_count: request.sequenceCount ?? Int32(sequences.count),
              logit_count: request.logitCount ?? Int32(logitRows.count),
              tokens: tokens.baseAddress, sequences: sequences.baseAddress,
              logit_rows: logitRows.baseAddress, inputs: nil, copies: nil, copy_count: 0,
              part_count: 0, part_first: 0, part_end: 0)
            return try stream.withHandle { stream in
              guard let previous else {
                return try MLXArray { ck_plan_step(plan.handle, stream, &step, nil, $0, $1) }
              }
              return try previous.withHandle { previous in
                try MLXArray { ck_plan_step(plan.handle, stream, &step, previous, $0, $1) }
              }
            }
          }
        }
      }
    }
  }

  private func expectRefused(
    _ words: String, _ change: (inout Request) -> Void,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let plan = try plan()
    var request = Request()
    change(&request)
    let refused = try #require(throws: (any Error).self, sourceLocation: sourceLocation) {
      _ = try step(plan, request).elements(of: Float.self, on: stream)
    }
    #expect("\(refused)".contains(words), "\(refused)", sourceLocation: sourceLocation)
    // The plan is none the worse.
    #expect(try step(plan, Request()).elements(of: Float.self, on: stream).count == 48)
  }

  @Test func stepsThatDoNotFitAreRefused() throws {
    try expectRefused("0 rows") { $0.rowCount = 0 }
    try expectRefused("65 rows; the plan takes 1 to 64") {
      $0.tokens = .init(repeating: 1, count: 65)
      $0.chunks[0] = Chunk(blocks: [0, 1, 2], position: 0, rows: 65)
    }
    try expectRefused("0 sequences") { $0.sequenceCount = 0 }
    try expectRefused("4 sequences for 3 rows") { $0.sequenceCount = 4 }
    try expectRefused("have 2 of its 3 rows") { $0.chunks[0].rows = 2 }
    try expectRefused("sequence 0 has 4 rows of the 3 that are left") { $0.chunks[0].rows = 4 }
    try expectRefused("sequence 0 has 0 rows") { $0.chunks[0].rows = 0 }
    try expectRefused("sequence 0 starts at row 1") { $0.change = { $0[0].first_row = 1 } }
    try expectRefused("position -1") { $0.chunks[0].position = -1 }
    try expectRefused("position 2147483647") { $0.chunks[0].position = Int(Int32.max) }
    try expectRefused("has 1 blocks of 32 tokens for 33 tokens") { $0.chunks[0].position = 30 }
    try expectRefused("no table") { $0.change = { $0[0].blocks = nil } }
    try expectRefused("has -1 blocks") { $0.change = { $0[0].block_count = -1 } }
  }

  @Test func blocksThatAreNotTheSequencesOwnAreRefused() throws {
    try expectRefused("block 4 of sequence 0") { $0.chunks[0].blocks = [4] }
    try expectRefused("block -1 of sequence 0") { $0.chunks[0].blocks = [-1] }
    try expectRefused("block 1 of sequence 1 is written twice") {
      $0.chunks = [
        Chunk(blocks: [1], position: 0, rows: 2), Chunk(blocks: [1], position: 0, rows: 1),
      ]
    }
    try expectRefused("block 1 is written while sequence 1 reads it") {
      $0.chunks = [
        Chunk(blocks: [1], position: 0, rows: 2), Chunk(blocks: [1, 2], position: 32, rows: 1),
      ]
    }
  }

  @Test func tokensOutsideTheVocabularyAreRefused() throws {
    try expectRefused("token 48 of row 1 is not in the vocabulary of 48") { $0.tokens[1] = 48 }
    try expectRefused("row 1 wants token 0 of the step before, which drew 0") { $0.tokens[1] = -1 }
    try expectRefused("row 2 wants token 2147483647") { $0.tokens[2] = .min }
    try expectRefused("row 1 wants token 2 of the step before, which drew 2") {
      $0.tokens[1] = -3
      $0.previous = [1, 2]
    }
    for token: Int32 in [48, Int32(CK_LOGITS_MASKED) - 1, .max] {
      try expectRefused("token \(token) of the step before is not in the vocabulary of 48") {
        $0.tokens[1] = -2
        $0.previous = [1, token]
      }
    }
  }

  @Test func logitRowsOutOfOrderAreRefused() throws {
    try expectRefused("logit row 3 after -1") { $0.logitRows = [3] }
    try expectRefused("logit row 1 after 1") { $0.logitRows = [1, 1] }
    try expectRefused("logit row 0 after 2") { $0.logitRows = [2, 0] }
    try expectRefused("logit row -1") { $0.logitRows = [-1] }
    try expectRefused("logits of -1") { $0.logitCount = -1 }
    try expectRefused("logits of 4 of its 3 rows") { $0.logitCount = 4 }
  }

  @Test func tokensOfTheStepBeforeStandForThemselves() throws {
    let plan = try plan()
    let named = try step(plan, Request(tokens: [5, 9, 7])).elements(of: Float.self, on: stream)
    let drawn = try step(plan, Request(tokens: [5, 9, -2], previous: [3, 7]))
    #expect(try drawn.elements(of: Float.self, on: stream) == named)
  }

  /// The step was issued before anybody knew; what it computes for such a row is not used.
  @Test(arguments: [CK_LOGITS_NAN, CK_LOGITS_INFINITE, CK_LOGITS_MASKED])
  func aTokenThatCouldNotBeDrawnStandsForAny(code: Int) throws {
    let plan = try plan()
    let given = try step(plan, Request(tokens: [5, 9, -2], previous: [3, Int32(code)]))
      .elements(of: Float.self, on: stream)
    #expect(given.allSatisfy { $0.isFinite })
  }

  @Test func stepsAreIssuedBeforeTheOnesBeforeAreRead() throws {
    let plan = try plan()
    func sampled(_ logits: MLXArray) throws -> MLXArray {
      var greedy = ck_sampling(
        temperature: 0, top_p: 1, min_p: 0, top_k: 0, uniform: 0, known: -1, logprobs: -1, index: 0,
        sampler: nil, mask: nil, given: nil, given_count: 0)
      var none: cmlx_array?
      return try stream.withHandle { stream in
        try logits.withHandle { logits in
          try MLXArray { ck_sample(stream, logits, &greedy, 1, $0, &none, $1) }
        }
      }
    }
    func decoded(queued: Bool) throws -> [Int32] {
      var drawn = [try sampled(step(plan, Request()))]
      for position in 3..<30 {
        let request = Request(
          tokens: [-1], chunks: [Chunk(blocks: [0], position: position, rows: 1)], logitRows: [0])
        let logits = try stream.withHandle { stream in
          try drawn[drawn.count - 1].withHandle { previous in
            try withSequences(request.chunks) { sequences in
              try MLXArray { array, error in
                var step = ck_step(
                  row_count: 1, sequence_count: 1, logit_count: 1, tokens: nil, sequences: nil,
                  logit_rows: nil, inputs: nil, copies: nil, copy_count: 0,
                  part_count: 0, part_first: 0, part_end: 0)
                let tokens = request.tokens
                let rows = request.logitRows
                return sequences.withUnsafeBufferPointer { sequences in
                  tokens.withUnsafeBufferPointer { tokens in
                    rows.withUnsafeBufferPointer { rows in
                      step.tokens = tokens.baseAddress
                      step.sequences = sequences.baseAddress
                      step.logit_rows = rows.baseAddress
                      return ck_plan_step(plan.handle, stream, &step, previous, array, error)
                    }
                  }
                }
              }
            }
          }
        }
        drawn.append(try sampled(logits))
        if queued {
          try MLXArray.asyncEval([drawn[drawn.count - 1]])
        } else {
          try MLXArray.eval([drawn[drawn.count - 1]])
        }
      }
      return try drawn.map { try $0.elements(of: Int32.self, on: stream)[0] }
    }
    let (queued, oneByOne) = (try decoded(queued: true), try decoded(queued: false))
    #expect(queued == oneByOne)
  }

  @Test func aStepMayWantNoLogits() throws {
    let plan = try plan()
    let none = try step(plan, Request(logitRows: []))
    #expect(none.shape == [0, Self.vocabulary])
    try MLXArray.eval([none])
    // Its rows are in the cache all the same.
    let next = Request(
      tokens: [4], chunks: [Chunk(blocks: [0], position: 3, rows: 1)], logitRows: [0])
    #expect(try step(plan, next).elements(of: Float.self, on: stream).count == 48)
  }

  @Test func aStepOutlivesItsPlanAndCache() throws {
    var shape = attention()
    shape.heads = 1
    var result: MLXArray?
    do {
      let plan = try AttendPlan(shape, isa, blocks: 1, maxRows: 2)
      let rows = [Float](repeating: 1, count: 2 * shape.columns)
      _ = try plan.run(rows, blocks: [0], chunks: [2], on: stream)
    }
    do {
      let plan = try plan()
      result = try step(plan, Request())
    }
    #expect(try #require(result).elements(of: Float.self, on: stream).count == 48)
  }

  @Test func rowsThatAreNeededNoMoreGiveUpTheirMemory() throws {
    func bytes(layers: Int) throws -> Int {
      let plan = Plan()
      try checkMLX { ck_plan_create(isa, 64, cache.handle, &plan.handle, $0) }
      var x: ck_rows = -1
      try checkMLX { ck_plan_embed(plan.handle, table.handle, &x, $0) }
      var numbers = Numbers(state: 2)
      let square = try PackedMatrix(
        [WeightMatrix(.float32, rows: 32, columns: 32, &numbers)], isa)
      for _ in 0..<layers {
        let residual = x
        try checkMLX { ck_plan_norm_linear(plan.handle, x, nil, 0, square.handle, &x, $0) }
        try checkMLX { ck_plan_linear(plan.handle, x, square.handle, residual, &x, $0) }
      }
      return ck_plan_bytes(plan.handle)
    }
    let (one, many) = (try bytes(layers: 1), try bytes(layers: 30))
    #expect(one > 0 && many == one)
  }

  @Test func opsThatDoNotFitAreRefused() throws {
    let plan = Plan()
    try checkMLX { ck_plan_create(isa, 8, cache.handle, &plan.handle, $0) }
    var x: ck_rows = -1
    var y: ck_rows = -1
    try checkMLX { ck_plan_embed(plan.handle, table.handle, &x, $0) }
    func expectRefused(
      _ words: String, sourceLocation: SourceLocation = #_sourceLocation,
      _ call: (UnsafeMutablePointer<cmlx_error>) -> Int32
    ) throws {
      let refused = try #require(throws: (any Error).self, sourceLocation: sourceLocation) {
        try checkMLX(call)
      }
      #expect("\(refused)".contains(words), "\(refused)", sourceLocation: sourceLocation)
    }
    try expectRefused("no rows 7") { ck_plan_linear(plan.handle, 7, table.handle, -1, &y, $0) }
    try expectRefused("32 columns are needed, and the rows have 48") {
      ck_plan_linear(plan.handle, x, table.handle, -1, &y, $0) == 0
        ? ck_plan_linear(plan.handle, y, table.handle, -1, &y, $0) : 1
    }
    try expectRefused("residual") { ck_plan_linear(plan.handle, x, table.handle, x, &y, $0) }
    try expectRefused("needs a matrix") { ck_plan_linear(plan.handle, x, nil, -1, &y, $0) }
    func attend(
      _ shape: AttentionShape, layer: Int = 0, _ words: String,
      _ change: (inout ck_attention) -> Void = { _ in },
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      try shape.withAttention(layer: layer) { attention in
        change(&attention)
        try expectRefused(words, sourceLocation: sourceLocation) {
          ck_plan_attend(plan.handle, x, &attention, &y, $0)
        }
      }
    }
    try attend(attention(), layer: 2, "layer 2")
    try attend(attention(), layer: -1, "layer -1")
    try attend(attention(headDim: 16), "does not fit a KV cache of 1 of size 8")
    try attend(attention(heads: 0), "0 query heads")
    try attend(attention(heads: 3), "40 columns are needed, and the rows have 32")
    try attend(attention(), "window") { $0.window = -1 }
    try attend(attention(), "scale") { $0.scale = .nan }
    try attend(attention(), "soft cap") { $0.soft_cap = -1 }
    try attend(attention(), "frequencies") { $0.inverse_frequencies = nil }
  }

  @Test func cachesThatCannotBeAreRefused() throws {
    for (layers, heads, size, blocks): (Int32, Int32, Int32, Int32) in [
      (0, 1, 64, 1), (1, -1, 64, 1), (1, 1, 12, 1), (1, 1, 2048, 1), (1, 1, 64, 0),
      (4096, 4096, 1024, 1 << 26),
    ] {
      var handle: OpaquePointer?
      #expect(throws: (any Error).self) {
        try checkMLX { ck_kv_create(layers, heads, size, blocks, &handle, $0) }
      }
      #expect(ck_kv_bytes(layers, heads, size, blocks) == 0)
    }
    #expect(ck_kv_bytes(30, 3, 64, 2) == 2 * ck_kv_bytes(30, 3, 64, 1))
  }
}
