// Of every fuzz target: short stacks of allocations and a small quarantine make runs several times
// as fast. To look closer at a finding: ASAN_OPTIONS=malloc_context_size=30.
extern "C" const char* __asan_default_options() {
  return "malloc_context_size=3:quarantine_size_mb=16:detect_stack_use_after_return=0";
}
