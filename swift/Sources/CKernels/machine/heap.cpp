#if defined(__linux__)
#include <malloc.h>
#endif

#include "../include/ckernels.h"

extern "C" void ck_trim_heap(void) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}
