#include <dlfcn.h>
#include <stdio.h>

#include "llguidance_abi.h"

#define LLG_FUNCTIONS(each)                                                                        \
  each(get_version) each(new_tokenizer_v2) each(free_tokenizer) each(constraint_init_set_defaults) \
      each(new_matcher) each(clone_matcher) each(free_matcher) each(matcher_get_error)             \
          each(matcher_compute_mask_into) each(matcher_consume_token) each(matcher_consume_tokens) \
              each(matcher_rollback) each(matcher_validate_tokens) each(matcher_compute_ff_tokens) \
                  each(matcher_is_accepting) each(matcher_is_stopped)

int llg_open(const char* path, llg_functions* functions, char* error, size_t capacity) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == NULL) {
    const char* why = dlerror();
    snprintf(error, capacity, "%s", why == NULL ? "it does not open" : why);
    return -1;
  }
#define LLG_FIND(name)                                             \
  *(void**)&functions->name = dlsym(library, "llg_" #name);        \
  if (functions->name == NULL) {                                   \
    snprintf(error, capacity, "it has no function llg_%s", #name); \
    return -1;                                                     \
  }
  LLG_FUNCTIONS(LLG_FIND)
  return 0;
}
