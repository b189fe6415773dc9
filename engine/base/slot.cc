#include "engine/base/slot.h"

#include <string.h>
#include <sys/mman.h>

#include <bit>
#include <cassert>
#include <mutex>
#include <vector>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WEIR_LEAK_CHECKER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WEIR_LEAK_CHECKER
#endif
// Not where it serves: each guarded slot is a mapping of its own for the kernel.
#if !defined(__OPTIMIZE__) || defined(WEIR_LEAK_CHECKER)
#define WEIR_GUARD_FOLDED
#endif
#ifdef WEIR_LEAK_CHECKER
#include <sanitizer/lsan_interface.h>
#endif

namespace weir {

constinit std::atomic<uintptr_t> slot_range = 0;

namespace {

constexpr size_t kStep = size_t{1} << 20;  // made usable at a time
constexpr size_t kWarm = 64;               // free slots that keep their pages
constexpr size_t kPage = 4096;
constexpr size_t kBits = 64;

size_t pages_of(size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

// What is only reachable from a slot is no leak.
void tell_leak_checker([[maybe_unused]] void* range) {
#ifdef WEIR_LEAK_CHECKER
  __lsan_register_root_region(range, kSlotRange);
#endif
}

class Slots {
 public:
  static Slots& get() {
    static Slots& slots = *new Slots;  // objects may outlive whatever ends at exit
    return slots;
  }

  void* take() {
    std::lock_guard lock(mutex_);
    for (auto* free : {&warm_, &cold_}) {
      if (free->empty()) continue;
      const uint32_t index = free->back();
      free->pop_back();
      return base() + size_t{index} * kSlotSize;
    }
    if (!base() && !reserve()) return nullptr;
    const size_t at = next_ * kSlotSize;
    if (at + kSlotSize > usable_ && !extend()) return nullptr;
    ++next_;
    return base() + at;
  }

  void give_back(void* slot) {
    std::lock_guard lock(mutex_);
    const auto index = static_cast<uint32_t>((static_cast<char*>(slot) - base()) / kSlotSize);
    if (warm_.size() < kWarm) {
      warm_.push_back(index);
      return;
    }
    ::madvise(slot, kSlotSize, MADV_DONTNEED);
    cold_.push_back(index);
  }

 private:
  static char* base() {
    return reinterpret_cast<char*>(slot_range.load(std::memory_order_relaxed));
  }

  // Addresses only: what nobody may use counts nowhere as memory.
  bool reserve() {
    if (refused_) return false;
    void* range =
        ::mmap(nullptr, kSlotRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    refused_ = range == MAP_FAILED;
    if (refused_) return false;
    ::madvise(range, kSlotRange, MADV_NOHUGEPAGE);
    slot_range.store(reinterpret_cast<uintptr_t>(range), std::memory_order_relaxed);
    tell_leak_checker(range);
    return true;
  }
  bool extend() {
    if (usable_ == kSlotRange) return false;
    if (::mprotect(base() + usable_, kStep, PROT_READ | PROT_WRITE) != 0) return false;
    usable_ += kStep;
    return true;
  }

  std::mutex mutex_;
  size_t usable_ = 0;  // bytes from the base on
  size_t next_ = 0;    // never taken yet
  bool refused_ = false;
  std::vector<uint32_t> warm_;
  std::vector<uint32_t> cold_;
};

void protect(void* slot, int how) {
#ifdef WEIR_GUARD_FOLDED
  ::mprotect(slot, kSlotSize, how);
#else
  (void)slot;
  (void)how;
#endif
}

}  // namespace

void* take_slot() {
  return Slots::get().take();
}

void free_slot(void* slot) {
  Slots::get().give_back(slot);
}

bool FoldedSlot::fold(void* slot, size_t size) {
  assert(!holds() && size <= kSlotSize);
  const auto* words = static_cast<const uint64_t*>(slot);
  const size_t count = (size + sizeof(uint64_t) - 1) / sizeof(uint64_t);
  const size_t masks = (count + kBits - 1) / kBits;
  size_t length = masks;
  for (size_t i = 0; i < count; ++i) length += words[i] != 0 ? 1 : 0;
  if (length * sizeof(uint64_t) + kPage / 2 > pages_of(size)) return false;
  content_.reset(static_cast<uint64_t*>(std::calloc(length, sizeof(uint64_t))));
  if (!content_) return false;
  words_ = static_cast<uint32_t>(count);
  length_ = static_cast<uint32_t>(length);
  uint64_t* out = content_.get() + masks;
  for (size_t i = 0; i < count; ++i) {
    if (words[i] == 0) continue;
    content_[i / kBits] |= uint64_t{1} << i % kBits;
    *out++ = words[i];
  }
  ::madvise(slot, kSlotSize, MADV_DONTNEED);
  protect(slot, PROT_NONE);
  return true;
}

void FoldedSlot::unfold(void* slot) {
  protect(slot, PROT_READ | PROT_WRITE);
  auto* words = static_cast<uint64_t*>(slot);
  const size_t masks = (words_ + kBits - 1) / kBits;
  const uint64_t* from = content_.get() + masks;
  for (size_t i = 0; i < masks; ++i) {
    for (uint64_t mask = content_[i]; mask != 0; mask &= mask - 1) {
      words[i * kBits + static_cast<size_t>(std::countr_zero(mask))] = *from++;
    }
  }
  forget();
}

void FoldedSlot::drop(void* slot) {
  protect(slot, PROT_READ | PROT_WRITE);
  forget();
}

// It may have held keys.
void FoldedSlot::forget() {
  ::explicit_bzero(content_.get(), length_ * sizeof(uint64_t));
  content_.reset();
}

}  // namespace weir
