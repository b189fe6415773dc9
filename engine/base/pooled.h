#pragma once

#include <cstddef>

namespace weir {

// Small pieces of memory that come and go with every request: coroutine frames, short vectors. From
// free lists of this thread, one per size class; above 4 KB and a little it is malloc. A piece may
// be given back in another thread. Throws std::bad_alloc only.
void* allocate_pooled(size_t size);
// `size` is the one it was allocated with.
void free_pooled(void* memory, size_t size);

// For std::vector and std::map.
template <class T>
struct PooledAllocator {
  using value_type = T;
  PooledAllocator() = default;
  template <class U>
  PooledAllocator(const PooledAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(allocate_pooled(count * sizeof(T))); }
  void deallocate(T* memory, size_t count) { free_pooled(memory, count * sizeof(T)); }
  friend bool operator==(const PooledAllocator&, const PooledAllocator&) { return true; }
};

// A base for classes whose objects come from there. Polymorphic ones need a virtual destructor.
struct Pooled {
  static void* operator new(size_t size) { return allocate_pooled(size); }
  static void operator delete(void* memory, size_t size) { free_pooled(memory, size); }
};

}  // namespace weir
