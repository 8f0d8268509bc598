/* vllm_swift.h: the C interface of the vllm-swift engine, and the only contract between the native
 * library and its callers. Token ids cross it, never text.
 *
 * Three levels. A runtime (one a process is enough) owns the thread that talks to MLX. A model
 * lives in a runtime. A request runs on a model and reports through its runtime's event queue.
 * A model file is opened on its own, without a runtime, so that its metadata can be read first.
 *
 * Promises:
 *  - Every fallible call returns a vsw_status; VSW_OK is 0. On failure, and only then, it fills the
 *    caller's `error` (which may be NULL) with the same code and a UTF-8 sentence.
 *  - Every function may be called from any thread. Nothing calls back into the caller.
 *  - Handles are names, not addresses: a stale, forged or NULL handle gives
 *    VSW_ERROR_INVALID_HANDLE, and destroying one is a no-op.
 *  - Parameter structs start with `struct_size`, which the caller sets to the size it was compiled
 *    with. Fields past it take their defaults, so a newer library serves an older caller. Reserved
 *    fields must be zero; anything else is VSW_ERROR_UNSUPPORTED.
 *  - Pointers that a call receives are read before it returns and not kept. Pointers that a call
 *    gives out stay valid as its comment says.
 *  - No input ends the process.
 *
 * The declarations are in the headers below, one for each subject.
 */
#ifndef VLLM_SWIFT_H
#define VLLM_SWIFT_H

#include "vllm_swift/base.h"
#include "vllm_swift/grammar.h"
#include "vllm_swift/model.h"
#include "vllm_swift/prefix.h"
#include "vllm_swift/request.h"
#include "vllm_swift/stats.h"

#endif /* VLLM_SWIFT_H */
