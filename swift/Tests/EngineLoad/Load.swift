import CVLLMSwift
import VLLMSwiftEngine

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

/// What several threads do to one engine.
final class Load: Sendable {
  private struct Running {
    let ask: Int
    var outputs: [[Int32]]
    var left: Int
    /// Its sequences may end early, and its tokens are the first of those that it has alone.
    var isCut = false
  }

  private struct State {
    var running: [vsw_request: Running] = [:]
    var counts: [String: Int] = [:]
    var isOver = false
  }

  private let engine: Engine
  private let asks: [Ask]
  private let alone: [[[Int32]]]
  private let state = Monitor(State())

  init(_ engine: Engine, alone: [[[Int32]]], asks: [Ask]) {
    (self.engine, self.alone, self.asks) = (engine, alone, asks)
  }

  var summary: String {
    state.withLock { state in
      state.counts.sorted { $0.key < $1.key }.map { "\($0.value) x \($0.key)" }
        .joined(separator: ", ")
    }
  }

  /// Lets each worker do its work over and over, and closes the runtime under the last requests.
  func play(_ workers: [@Sendable (inout Dice) -> Void], seconds: Double, seed: UInt64) {
    let reader = thread { [self] in while engine.poll(take) {} }
    let threads = workers.enumerated().map { number, work in
      thread { [self] in
        var dice = Dice(state: seed &+ UInt64(number) &* 1_000_003)
        while !state.withLock({ $0.isOver }) { work(&dice) }
      }
    }
    usleep(UInt32(seconds * 1e6))
    state.update { $0.isOver = true }
    for thread in threads { pthread_join(thread, nil) }
    for ask in asks.indices { _ = submit(ask, cut: true) }
    vsw_runtime_destroy(engine.runtime)
    pthread_join(reader, nil)
    vsw_model_file_close(engine.file)
  }

  // MARK: - What threads do

  @Sendable func submitAndWait(_ dice: inout Dice) {
    let names = (0...dice.roll(0...3)).map { _ in
      submit(dice.roll(0...asks.count - 1), priority: Int32(dice.roll(-1...1)))
    }
    for name in names { wait(name) }
    count("requests waited for", names.count)
  }

  @Sendable func submitAndCancel(_ dice: inout Dice) {
    let ask = dice.roll(0...asks.count - 1)
    let name = submit(ask, cut: true, timeout: dice.roll(0...3) == 0 ? 2_000 : 0)
    usleep(UInt32(dice.roll(0...20_000)))
    if dice.roll(0...1) == 0 {
      vsw_cancel(engine.runtime, name)
    } else {
      vsw_cancel_sequence(engine.runtime, name, UInt32(dice.roll(0...1)))
    }
    wait(name)
    count("requests cancelled", 1)
  }

  @Sendable func submitAndRelease(_ dice: inout Dice) {
    let name = submit(dice.roll(0...asks.count - 1), cut: true)
    usleep(UInt32(dice.roll(0...20_000)))
    // First, since no event comes any more: the reader must not wait for one.
    state.withLock { _ = $0.running.removeValue(forKey: name) }
    vsw_release(engine.runtime, name)
    count("requests released", 1)
  }

  /// Reads what others change.
  @Sendable func look(_ dice: inout Dice) {
    var stats = vsw_stats()
    stats.struct_size = UInt32(MemoryLayout<vsw_stats>.size)
    must { vsw_runtime_get_stats(engine.runtime, &stats, $0) }
    var model = vsw_model_info()
    model.struct_size = UInt32(MemoryLayout<vsw_model_info>.size)
    must { vsw_model_get_info(engine.model, &model, $0) }
    var info = vsw_request_info()
    info.struct_size = UInt32(MemoryLayout<vsw_request_info>.size)
    if let name = state.withLock({ $0.running.keys.first }) {
      _ = vsw_request_get_info(engine.runtime, name, &info, nil)
    }
    vsw_wake(engine.runtime)
    usleep(UInt32(dice.roll(0...2_000)))
    count("looks", 1)
  }

  /// Pins what requests have computed, copies it out and in again; reads logits in between.
  @Sendable func usePrefixes(_ dice: inout Dice) {
    let ask = asks[3 * dice.roll(0...asks.count / 3 - 1)]
    var (pinned, loaded): (OpaquePointer?, OpaquePointer?)
    guard vsw_prefix_pin(engine.model, ask.prompt, ask.prompt.count, &pinned, nil) == 0 else {
      return
    }
    var info = vsw_prefix_info()
    info.struct_size = UInt32(MemoryLayout<vsw_prefix_info>.size)
    must { vsw_prefix_get_info(pinned, &info, $0) }
    var contents = [UInt8](repeating: 0, count: Int(info.bytes))
    if vsw_prefix_read(pinned, &contents, contents.count, nil) == 0, info.token_count > 0 {
      _ = vsw_prefix_load(
        engine.model, ask.prompt, Int(info.token_count), contents, contents.count, &loaded, nil)
    }
    vsw_prefix_destroy(pinned)
    vsw_prefix_destroy(loaded)
    var model = vsw_model_info()
    model.struct_size = UInt32(MemoryLayout<vsw_model_info>.size)
    must { vsw_model_get_info(engine.model, &model, $0) }
    let rows = ask.prompt.count
    var logits = [Float](repeating: 0, count: rows * Int(model.vocab_size))
    _ = vsw_model_logits(engine.model, ask.prompt, rows, &logits, logits.count, nil)
    usleep(UInt32(dice.roll(0...20_000)))
    count("prefixes", 1)
  }

  /// Loads a second model beside the first, and closes it under its requests.
  @Sendable func useAnotherModel(_ dice: inout Dice) {
    var model: OpaquePointer?
    must { Engine.load(engine.file, into: engine.runtime, &model, $0) }
    let names = (0..<3).map { _ in
      submit(dice.roll(0...asks.count - 1), to: model, cut: true)
    }
    usleep(UInt32(dice.roll(0...20_000)))
    vsw_model_destroy(model)
    for name in names { wait(name) }
    count("models", 1)
  }

  // MARK: - Requests

  private func submit(
    _ ask: Int, to model: OpaquePointer? = nil, cut: Bool = false, timeout: UInt64 = 0,
    priority: Int32 = 0
  ) -> vsw_request {
    // Under the lock, so that the reader meets no event of a request it does not know.
    state.withLock { state in
      let name = engine.submit(asks[ask], to: model, timeout: timeout, priority: priority)
      let outputs = alone[ask].map { _ in [Int32]() }
      state.running[name] = Running(
        ask: ask, outputs: outputs, left: outputs.count, isCut: cut)
      return name
    }
  }

  /// Waits for a request's end, and forgets it.
  private func wait(_ name: vsw_request) {
    let ended = state.wait { state -> Running? in
      guard let running = state.running[name], running.left == 0 else { return nil }
      return state.running.removeValue(forKey: name)
    }
    vsw_release(engine.runtime, name)
    guard let ended else { fail("request \(name) is not known") }
    for (tokens, whole) in zip(ended.outputs, alone[ended.ask]) {
      guard tokens == (ended.isCut ? Array(whole.prefix(tokens.count)) : whole) else {
        fail("\(tokens) came, and alone it is \(whole)")
      }
    }
  }

  @Sendable private func take(_ event: vsw_event, _ tokens: [Int32]) {
    state.update { state in
      state.running[event.request]?.outputs[Int(event.sequence)] += tokens
      if event.finish_reason != 0 { state.running[event.request]?.left -= 1 }
    }
  }

  private func count(_ what: String, _ more: Int) {
    state.withLock { $0.counts[what, default: 0] += more }
  }
}

private final class Body: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

func thread(_ run: @escaping @Sendable () -> Void) -> pthread_t {
  var thread = pthread_t()
  let status = pthread_create(
    &thread, nil,
    {
      Unmanaged<Body>.fromOpaque($0!).takeRetainedValue().run()
      return nil
    }, Unmanaged.passRetained(Body(run)).toOpaque())
  guard status == 0 else { fail("no thread: \(status)") }
  return thread
}
