#pragma once

#include <cstddef>

namespace weir {

// Memory of one compiled configuration, apart from all other. While one of these lives, `operator
// new` (and OpenSSL, and PCRE2) in its thread takes pieces up to 4 KB from spans that nothing else
// is in; they are given back as any others, by any thread. A span whose last piece is freed goes
// back to the kernel: so a generation that ends leaves no holes among what lives on, and the next
// has none to fill. Two may nest (what is read, what is made of it): the inner one is in use.
//
// Spans come from a range of addresses, 4 GB, reserved once for each process. Where it is refused,
// and in builds with the address sanitizer, this does nothing: memory comes from malloc.
class GenerationHeap {
 public:
  GenerationHeap();
  ~GenerationHeap();
  GenerationHeap(const GenerationHeap&) = delete;
  GenerationHeap& operator=(const GenerationHeap&) = delete;

  struct State;

 private:
  State* state_ = nullptr;
  State* outer_ = nullptr;
};

// malloc, realloc and free that take part. Null when there is no memory.
void* heap_allocate(size_t size);
void* heap_resize(void* memory, size_t size);
void heap_free(void* memory);

// What the spans in use take, in this process.
size_t generation_heap_bytes();

}  // namespace weir
