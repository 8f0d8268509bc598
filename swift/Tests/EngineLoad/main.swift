import CVLLMSwift

#if canImport(Darwin)
  import Darwin
#else
  import Glibc
#endif

// A load on the engine from several threads, through the C interface, for ThreadSanitizer (`make
// race`). What comes is checked as in tests/soak.py: each sequence has the tokens that it has alone.
//
//   EngineLoad MODEL SECONDS SEED

let arguments = CommandLine.arguments
guard arguments.count == 4, let seconds = Double(arguments[2]), let seed = UInt64(arguments[3])
else {
  print("usage: EngineLoad MODEL SECONDS SEED")
  exit(2)
}
let engine = Engine(model: arguments[1])
var dice = Dice(state: seed)
let catalogue = (0..<24).map { Ask($0, &dice) }
let load = Load(engine, alone: catalogue.map { engine.alone($0) }, asks: catalogue)
let workers: [@Sendable (inout Dice) -> Void] = [
  load.submitAndWait, load.submitAndWait, load.submitAndCancel, load.submitAndRelease, load.look,
  load.usePrefixes, load.useAnotherModel,
]
load.play(workers, seconds: seconds, seed: seed)
print("\(load.summary); nothing mixed, nothing lost")
