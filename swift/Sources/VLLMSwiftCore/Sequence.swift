/// One output of a request on its way: its tokens, its blocks, and how far it is.
final class Sequence {
  enum State {
    case waiting
    case running
    case ended
  }

  /// A running sequence that is about to compute blocks which this one would compute as well.
  struct Leader {
    let sequence: Sequence
    /// Blocks that both begin with.
    let blocks: Int

    /// Whether more of those blocks can still be found later than now.
    var isAtWork: Bool {
      sequence.state == .running && sequence.registered < blocks && sequence.registeredEnd != nil
    }
  }

  let id: SequenceID
  let request: Request
  /// Counts submissions.
  let arrival: UInt64

  var state = State.waiting
  /// Prompt and output, as far as it is known.
  private(set) var tokens: [Int32]
  /// The block table.
  var blocks: [Int32] = []
  /// Rows issued, or found in the cache; also the position of the next.
  var position = 0
  /// Tokens of the output, whether they are known yet or not.
  var samplesIssued = 0
  /// How many of its newest tokens came with a draw, and were not drawn.
  private var given = 0
  /// Which sample of the step before its newest token is, where that is not known yet.
  var newestSample = 0
  /// The last step it has rows in.
  var lastStep: UInt64 = 0
  /// How many of its blocks were offered to others, and where they end. Nil: no more will be, since
  /// what comes before them was evicted.
  var registered = 0
  var registeredEnd: PrefixIndex.Parent?
  var leader: Leader?
  /// Rows of the prompt whose logits gave the logprobs of the tokens after them.
  private var scored = 0
  var wasStarted = false

  init(_ request: Request, index: Int, arrival: UInt64) {
    id = SequenceID(request: request.id, index: index)
    self.request = request
    self.arrival = arrival
    tokens = request.prompt
    registeredEnd = .root(salt: request.salt)
  }

  private var length: Int { request.prompt.count + samplesIssued }
  /// Rows that are not issued, of tokens known or being drawn.
  var rowsLeft: Int { length - position }
  var awaitsToken: Bool { tokens.count < length }
  var wantsRows: Bool { state == .running && samplesIssued < request.sampling.maxTokens }
  /// Whether its next row is that of its newest token.
  var decodes: Bool { samplesIssued > 0 && rowsLeft == 1 }
  /// Whether its next rows are those of its newest draw.
  var continues: Bool { samplesIssued > 0 && (1...given + 1).contains(rowsLeft) }
  var promptIsComputed: Bool { position >= request.prompt.count }

  /// Whether rows of its prompt still have to be computed for their logprobs. The first output does
  /// that for all of its request.
  var isScored: Bool {
    request.sampling.promptLogprobs != nil && id.index == 0 && scored < request.prompt.count - 1
  }
  /// How many blocks it may take over from others: rows that are not computed have no logprobs.
  var blocksToFind: Int { (isScored ? scored : tokens.count - 1) / kvBlockTokens }

  /// Whether it runs before another one.
  func precedes(_ other: Sequence) -> Bool {
    (request.priority, arrival, UInt64(id.index))
      < (other.request.priority, other.arrival, UInt64(other.id.index))
  }

  /// The tokens of the next `count` rows.
  func nextTokens(_ count: Int) -> [BatchLayout.Token] {
    (position..<position + count).map {
      $0 < tokens.count ? .id(tokens[$0]) : .sampled(newestSample)
    }
  }

  /// The `index`th block's tokens, if all are known.
  func tokens(ofBlock index: Int) -> ArraySlice<Int32>? {
    let (start, end) = (index * kvBlockTokens, (index + 1) * kvBlockTokens)
    return end <= tokens.count ? tokens[start..<end] : nil
  }

  /// Blocks that are full, of known tokens, and issued.
  var fullBlocks: Int { min(position, tokens.count) / kvBlockTokens }

  /// Draws the next token, as sample `index` of the step.
  func draw(as index: Int) -> Scheduler.Sample {
    defer { samplesIssued += 1 }
    newestSample = index
    return Scheduler.Sample(
      sequence: id, sampling: request.sampling,
      uniform: Philox.uniform(
        seed: request.seed &+ UInt64(id.index), index: UInt64(samplesIssued)),
      index: samplesIssued, known: nil, given: Array(tokens.suffix(given)))
  }

  /// Asks for the logprobs of the prompt's tokens after the next `count` rows, of those that were
  /// not asked for before a preemption.
  func score(_ count: Int) -> [Scheduler.Sample] {
    guard isScored else { return [] }
    let end = max(scored, min(position + count, request.prompt.count - 1))
    let known = request.prompt[scored + 1..<end + 1]
    scored = end
    return known.map {
      Scheduler.Sample(
        sequence: id, sampling: request.sampling, uniform: 0, index: 0, known: $0, given: [])
    }
  }

  /// Takes a draw in, up to a stop token and to as many tokens as it may have. One without tokens is
  /// to be done again, by the same row.
  /// - Parameter sample: the entry of its step's samples that it comes from.
  func append(_ draw: Scheduler.Draw, of sample: Int) -> Scheduler.Outcome? {
    guard !draw.tokens.isEmpty || draw.finish != nil else {
      (samplesIssued, position) = (samplesIssued - 1, position - 1)
      return nil
    }
    let room = request.sampling.maxTokens - (tokens.count - request.prompt.count)
    let stop = draw.tokens.firstIndex { request.sampling.stopTokenIDs.contains($0) }
    let taken = draw.tokens.prefix(min(stop ?? draw.tokens.count, room))
    tokens += taken
    given = max(0, taken.count - 1)
    samplesIssued += given
    let stopped = stop.map { $0 < room } ?? false
    let whole = taken.count == draw.tokens.count
    return Scheduler.Outcome(
      sequence: id, tokens: Array(taken),
      finish: stopped
        ? .stop : (whole ? draw.finish : nil) ?? (taken.count == room ? .length : nil),
      stopToken: stopped ? stop.map { draw.tokens[$0] } : nil, sample: sample)
  }

  /// Starts over from the blocks of a match.
  func start(from match: PrefixCache.Match) {
    blocks = match.blocks
    position = blocks.count * kvBlockTokens
    (registered, registeredEnd) = (blocks.count, match.end)
  }

  /// How many whole blocks two sequences have in common from the beginning on. O(tokens).
  func commonBlocks(with other: Sequence) -> Int {
    guard request.salt == other.request.salt else { return 0 }
    let limit = min(tokens.count, other.tokens.count)
    let common = (0..<limit).first { tokens[$0] != other.tokens[$0] } ?? limit
    return common / kvBlockTokens
  }
}
