// What the system's scheduler is told of the threads that compute.
#ifndef CK_PLACEMENT_HPP
#define CK_PLACEMENT_HPP

namespace ck {

/// Notes which processors the calling thread may use: what `place_thread` chooses from. Once a
/// process, when the pool's size is found, so that the two agree.
void note_processors();

/// Makes the calling thread number `index` of a pool of `size` in the eyes of the system. Cheap
/// when nothing has changed. On Linux:
///
/// - it asks for the longest time slice, so that a thread with little to do (the one that hands out
///   tokens, or the host's own) gets its processor as soon as it wakes (Linux 6.12 and later;
///   earlier ones ignore it) rather than after the 3 to 4 ms of an ordinary slice;
/// - where the pool has a thread for each processor that the process may use, it stays on its own:
///   two of them on one processor hold each other's pieces up until the next tick. Processes begin
///   at different processors, since thread 0 has more to do than the others.
///
/// Elsewhere, and where the system refuses, nothing.
void place_thread(int index, int size);

/// Makes the calling thread one that hands out what the pool computes. Between two threads with the
/// same claim to a processor, Linux prefers the one whose slice ends first: one that wakes with an
/// ordinary slice, while that of a computing thread is about to end, waits for the next tick. Cheap
/// after the first time. Elsewhere, and where the system refuses, nothing.
void take_short_slices();

}  // namespace ck

#endif  // CK_PLACEMENT_HPP
