import Testing

@testable import VLLMSwiftCore

@Suite struct BlockPoolTests {
  @Test func freeBlocksComeFirstAndLowOnesBeforeHighOnes() {
    var pool = BlockPool(capacity: 3)
    #expect(pool.take()?.block == 0)
    pool.letGo(0, keep: true)
    #expect(pool.take()?.block == 1)
    #expect(pool.take()?.block == 2)
    let last = pool.take()
    #expect(last?.block == 0)
    #expect(last?.wasIdle == true)
    #expect(pool.take() == nil)
  }

  @Test func theIdleBlockThatWasLetGoFirstIsLostFirst() {
    var pool = BlockPool(capacity: 4)
    for _ in 0..<4 { _ = pool.take() }
    for block in [2, 0, 3, 1] as [Int32] { pool.letGo(block, keep: true) }
    pool.hold(0)
    pool.letGo(0, keep: true)
    #expect((0..<4).compactMap { _ in pool.take()?.block } == [2, 3, 1, 0])
  }

  @Test func aSharedBlockIsInUseUntilItsLastHolderLetsGo() {
    var pool = BlockPool(capacity: 1)
    _ = pool.take()
    pool.hold(0)
    pool.letGo(0, keep: false)
    #expect(pool.inUse == 1)
    pool.letGo(0, keep: false)
    #expect(pool.available == 1)
  }
}
