import CKernels
import MLXArray
import VLLMSwiftCore
import VLLMSwiftFiles

public enum Machine {
  /// Bytes that a model may have: on a GPU those of the GPU; else, and without one, the machine's, or
  /// what the control groups of the process allow.
  public static func memoryBytes(of device: ModelOptions.Device) -> Int {
    let machine = Int(clamping: ck_machine_memory())
    let gpu = device == .cpu ? 0 : MLX.gpuMemory
    return gpu == 0 ? machine : gpu
  }
}

/// Bounds what a model takes: weights, workspace with the logits of steps, KV cache.
struct MemoryBudget {
  /// Nil: no bound of the caller's.
  let bytes: Int?
  /// Of a step that runs, and of one that is queued behind it.
  let logitBytes: Int
  /// Nil: as many as there is room for.
  let cacheTokens: Int?
  /// What there is where the model runs.
  let machineBytes: Int

  /// Before any weight is read.
  func checkWeights(of checkpoint: any Checkpoint) throws {
    guard let bytes else { return }
    let weights = try checkpoint.tensorNames.reduce(0) {
      try $0 + (checkpoint.tensor($1)?.byteCount ?? 0)
    }
    guard weights <= bytes else {
      throw tooSmall(needed: weights, what: "the weights alone take", in: bytes)
    }
  }

  /// How many blocks of KV cache there is room for, once the weights are in memory. Without a bound:
  /// four sequences of full length, if they take no more than half of what weights and logits leave
  /// of the machine. The other half is the workspace's: not less, or the workspace of a length that
  /// nobody may ask for would take the cache of all others.
  func cacheBlocks(for executor: any Executor, maxModelLength: Int) throws -> Int {
    let used = executor.weightBytes + executor.workspaceBytes + logitBytes
    let sequence = BlockPool.blocks(for: maxModelLength)
    if let cacheTokens {
      let blocks = BlockPool.blocks(for: cacheTokens)
      let needed = used + blocks * executor.bytesPerBlock
      if let bytes, needed > bytes {
        throw tooSmall(
          needed: needed,
          what: "the weights, the workspace and a KV cache of \(cacheTokens) tokens take",
          in: bytes)
      }
      return blocks
    }
    guard let bytes else {
      let left = max(0, machineBytes - executor.weightBytes - logitBytes) / 2
      return max(1, min(4 * sequence, left / executor.bytesPerBlock))
    }
    let blocks = (bytes - used) / executor.bytesPerBlock
    guard blocks >= 1 else {
      throw tooSmall(
        needed: used + executor.bytesPerBlock,
        what: "the weights, the workspace and a KV cache of \(kvBlockTokens) tokens take",
        in: bytes)
    }
    return min(blocks, 64 * sequence)
  }

  private func tooSmall(needed: Int, what: String, in bytes: Int) -> EngineError {
    EngineError(
      .memoryBudget,
      "\(what) \(needed) bytes, and memory_budget is \(bytes): raise it, or use a smaller or a "
        + "quantized model, or a smaller max_num_seqs, max_num_batched_tokens or max_model_len")
  }
}
